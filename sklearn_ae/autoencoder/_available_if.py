"""Methods that exist only for some settings of an estimator."""

import functools
from types import MethodType


class available_if:
    """Decorator of a method that exists only if ``check(estimator)`` does not raise.

    scikit-learn's ``available_if`` replaces the check's AttributeError by one without
    its reason.

    Parameters
    ----------
    check : callable
        It takes the estimator, and raises an AttributeError that says why the method is
        missing.
    """

    def __init__(self, check):
        self.check = check

    def __call__(self, method):
        """Decorate a method."""
        self.method = method
        return functools.update_wrapper(self, method)

    def __get__(self, estimator, owner=None):
        if estimator is None:
            return self.method
        self.check(estimator)
        return MethodType(self.method, estimator)
