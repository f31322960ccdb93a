"""Linear heads on codes, by logistic and ridge regression."""

import warnings

import numpy as np
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    Ridge,
    RidgeCV,
)
from sklearn.model_selection import StratifiedKFold


def logistic_head(Z, target, weight, n_classes):
    """Fit a logistic regression.

    Parameters
    ----------
    Z : ndarray of shape (n, k)
        Codes.
    target : ndarray of shape (n,), int64
        Class indices from 0 to n_classes - 1.
    weight : ndarray of shape (n,)
    n_classes : int

    Returns
    -------
    coef : ndarray of shape (n_classes, k)
        Zero for classes without a row.
    intercept : ndarray of shape (n_classes,)
        Zero for classes without a row.
    """
    coef, intercept = np.zeros((n_classes, Z.shape[1])), np.zeros(n_classes)
    present = np.unique(target)
    if len(present) < 2:
        return coef, intercept
    with warnings.catch_warnings(), config_context(enable_metadata_routing=False):
        # Fine-tuning goes on from here; a code that is not fine-tuned has few labels.
        warnings.simplefilter("ignore", ConvergenceWarning)
        linear = _logistic(target).fit(
            Z.astype(np.float64), target, sample_weight=weight
        )
    # scikit-learn has one row of coefficients for two classes: their difference.
    sides = np.array([[-0.5], [0.5]]) if len(present) == 2 else 1.0
    coef[present] = sides * linear.coef_
    intercept[present] = np.ravel(sides * linear.intercept_)
    return coef, intercept


def ridge_head(Z, target, weight):
    """Fit a ridge regression; its penalty has the least leave-one-out error.

    Parameters
    ----------
    Z : ndarray of shape (n, k)
        Codes.
    target : ndarray of shape (n,)
        Standardised numbers.
    weight : ndarray of shape (n,)

    Returns
    -------
    coef : ndarray of shape (1, k)
    intercept : ndarray of shape (1,)
    """
    # Fewer than five rows cannot choose a penalty.
    linear = RidgeCV(np.logspace(-3, 5, 17)) if len(Z) >= 5 else Ridge()
    with config_context(enable_metadata_routing=False):
        linear.fit(Z.astype(np.float64), target, sample_weight=weight)
    return linear.coef_[None], np.array([linear.intercept_])


def _logistic(target):
    """Return an estimator that chooses its penalty by cross-validation of few rows."""
    n_rarest = np.bincount(target)[np.unique(target)].min()
    # More than a thousand rows hardly depend on the penalty, and take longer.
    if n_rarest < 2 or len(target) > 1_000:
        return LogisticRegression(max_iter=1_000)
    return LogisticRegressionCV(
        Cs=np.logspace(-3, 1, 5),
        cv=StratifiedKFold(min(5, n_rarest)),
        scoring="neg_log_loss",
        max_iter=1_000,
        l1_ratios=(0,),
        use_legacy_attributes=False,
    )
