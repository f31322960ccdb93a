"""scikit-learn's callbacks: calls at the start and end of a fit and its iterations."""


class FitTasks:
    """Callback tasks of one fit: the fit as a whole and each iteration.

    The estimator has a method ``_fitted(net, monitored)`` that returns a dictionary of
    the attributes it would have if training stopped now: a callback that needs a fitted
    estimator sets these on a copy.

    Parameters
    ----------
    estimator : estimator
        The estimator that is being fitted.
    context : sklearn.callback.CallbackContext
        Its root context.
    X, y, sample_weight
        Arguments of ``fit``, passed on to the callbacks. If y is None, X is the target:
        ``ScoringMonitor`` scores only if there is one.
    """

    def __init__(self, estimator, context, X, y, sample_weight):
        self.estimator = estimator
        self.context = context
        self.data = {
            "X": X,
            "y": X if y is None else y,
            "metadata": (
                None if sample_weight is None else {"sample_weight": sample_weight}
            ),
        }

    def __enter__(self):
        self.context.call_on_fit_task_begin(estimator=self.estimator, **self.data)
        return self

    def __exit__(self, kind, error, traceback):
        if kind is None:
            self.context.call_on_fit_task_end(
                estimator=self.estimator, **self.data, reconstruction_attributes={}
            )

    def begin(self, net):
        """Start an iteration."""
        self.iteration = self.context.subcontext(task_name="iteration")
        self.iteration.call_on_fit_task_begin(**self._arguments(net))

    def end(self, net):
        """End an iteration; return True if a callback asks to stop."""
        return self.iteration.call_on_fit_task_end(**self._arguments(net))

    def _arguments(self, net):
        return {
            "estimator": self.estimator,
            **self.data,
            # A function: scikit-learn calls it only if a callback needs it.
            "reconstruction_attributes": lambda: self.estimator._fitted(
                net, net.monitored
            ),
        }
