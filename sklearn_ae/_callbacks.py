"""scikit-learn's callbacks, told of a fit and of each iteration in it."""


class FitTasks:
    """The tasks of one fit: the whole (a context) and each iteration of it.

    Parameters
    ----------
    estimator : estimator
        The one that is being fitted.
    context : sklearn.callback.CallbackContext
        Its root context.
    X, y, sample_weight
        What the callbacks are shown. An autoencoder's target is its input: without a y
        they get X, so that ``ScoringMonitor``, which scores only where there is a
        target, works.
    fitted : callable, optional
        Returns the attributes of the estimator as if training of a net had ended now;
        not needed without iterations.
    """

    def __init__(self, estimator, context, X, y, sample_weight, fitted=None):
        self.estimator = estimator
        self.fitted = fitted
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
        """Start of an iteration."""
        self.part = self.context.subcontext(task_name="iteration")
        self.part.call_on_fit_task_begin(**self._now(net))

    def end(self, net):
        """End of an iteration; True if a callback asks to stop."""
        return self.part.call_on_fit_task_end(**self._now(net))

    def _now(self, net):
        return {
            "estimator": self.estimator,
            **self.data,
            # Called only for a callback that wants a fitted estimator.
            "reconstruction_attributes": lambda: self.fitted(net),
        }
