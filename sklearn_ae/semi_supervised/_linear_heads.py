"""Linear heads on codes, by logistic and ridge regression."""

import numpy as np
from sklearn import config_context
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

# Inverse penalties to choose from, the strongest first.
PENALTIES = np.logspace(-3, 1, 5)
MAX_ITER = (
    10_000  # nearly all converge in a thousandth: it is not to warn of the others
)


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
        Zero for classes without a row. If all rows are of one class, it is its share
        that is predicted, as if there was a further row of each class (Laplace's rule).
    """
    coef, intercept = np.zeros((n_classes, Z.shape[1])), np.zeros(n_classes)
    present = np.unique(target)
    if len(present) < 2:
        intercept[present] = np.log1p(len(target))
        return coef, intercept
    Z = Z.astype(np.float64)
    with config_context(enable_metadata_routing=False):
        linear = LogisticRegression(C=_penalty(Z, target, weight), max_iter=MAX_ITER)
        linear.fit(Z, target, sample_weight=weight)
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


def _penalty(Z, target, weight):
    """Return the inverse penalty with the least log loss in cross-validation."""
    n_rarest = np.bincount(target)[np.unique(target)].min()
    # More than a thousand rows hardly depend on the penalty, and take longer.
    if n_rarest < 2 or len(target) > 1_000:
        return 1.0
    # LogisticRegressionCV resets the warning filters of the whole process.
    losses = np.zeros((len(PENALTIES), n_folds := min(5, n_rarest)))
    for i, (train, test) in enumerate(StratifiedKFold(n_folds).split(Z, target)):
        linear = LogisticRegression(max_iter=MAX_ITER, warm_start=True)
        for j, penalty in enumerate(PENALTIES):
            linear.set_params(C=penalty).fit(Z[train], target[train], weight[train])
            losses[j, i] = log_loss(
                target[test],
                linear.predict_proba(Z[test]),
                sample_weight=weight[test],
                labels=linear.classes_,
            )
    return PENALTIES[losses.mean(axis=1).argmin()]
