"""Linear heads on codes, in closed form or nearly: where fine-tuning starts."""

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

# Of the logistic regression: its steps, the inverse penalties that are tried where
# labels are few, and how many are few. With more the penalty hardly matters.
MAX_ITER, INVERSE_PENALTIES, FEW, N_FOLDS = 1_000, np.logspace(-3, 1, 5), 1_000, 5
# Penalties of the ridge regression, the best of which is that of leaving rows out one
# by one; of fewer rows than these that tells nothing.
PENALTIES, MIN_ROWS = np.logspace(-3, 5, 17), 5


def logistic_head(Z, target, weight, n_classes):
    """Logistic regression: coefficients (n_classes, k) and intercepts (n_classes,).

    Parameters
    ----------
    Z : ndarray of shape (n, k)
        Codes.
    target : ndarray of shape (n,), int64
        Classes from 0 to n_classes - 1; of those without a row all is zero.
    weight : ndarray of shape (n,)
    n_classes : int
    """
    coef, intercept = np.zeros((n_classes, Z.shape[1])), np.zeros(n_classes)
    present = np.unique(target)
    if len(present) < 2:
        return coef, intercept
    with warnings.catch_warnings(), config_context(enable_metadata_routing=False):
        # It is a start, or penalised enough where it is not.
        warnings.simplefilter("ignore", ConvergenceWarning)
        linear = _logistic(target).fit(
            Z.astype(np.float64), target, sample_weight=weight
        )
    # Of two classes it has the difference alone.
    sides = np.array([[-0.5], [0.5]]) if len(present) == 2 else 1.0
    coef[present] = sides * linear.coef_
    intercept[present] = np.ravel(sides * linear.intercept_)
    return coef, intercept


def ridge_head(Z, target, weight):
    """Ridge regression of numbers (n,): coefficients (1, k) and an intercept (1,)."""
    linear = RidgeCV(PENALTIES) if len(Z) >= MIN_ROWS else Ridge()
    with config_context(enable_metadata_routing=False):
        linear.fit(Z.astype(np.float64), target, sample_weight=weight)
    return linear.coef_[None], np.array([linear.intercept_])


def _logistic(target):
    """Logistic regression whose penalty is the best for rows left out in turn."""
    least = np.bincount(target)[np.unique(target)].min()
    if least < 2 or len(target) > FEW:
        return LogisticRegression(max_iter=MAX_ITER)
    return LogisticRegressionCV(
        Cs=INVERSE_PENALTIES,
        cv=StratifiedKFold(min(N_FOLDS, least)),
        scoring="neg_log_loss",
        max_iter=MAX_ITER,
        l1_ratios=(0,),
        use_legacy_attributes=False,
    )
