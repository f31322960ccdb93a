"""What every fit starts and ends with: weights that are checked, and all or nothing."""

from contextlib import contextmanager

import numpy as np
from sklearn.utils.validation import _check_sample_weight


def checked_weight(sample_weight, X, *, least=0):
    """Weights (n_samples,), float64, none below 0; None where none are given.

    ValueError where fewer than ``least`` rows have one above zero.
    """
    if sample_weight is None:
        return None
    sample_weight = _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
    n_known = np.count_nonzero(sample_weight)
    if n_known < least:
        raise ValueError(
            f"sample_weight is above zero for {n_known} of the rows of X, while a "
            f"minimum of {least} is required."
        )
    return sample_weight


@contextmanager
def all_or_nothing(estimator):
    """Put back the estimator's attributes if the block fails."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
