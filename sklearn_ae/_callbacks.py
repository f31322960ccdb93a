"""scikit-learn's callbacks: calls at the start and end of a fit and its iterations."""


class FitTasks:
    """Callback tasks of one fit: the fit as a whole and each iteration.

    Parameters
    ----------
    estimator : estimator
        The estimator that is being fitted.
    context : sklearn.callback.CallbackContext
        Its root context.
    X, y, sample_weight
        Arguments of ``fit``, passed on to the callbacks. If y is None, X is the target:
        ``ScoringMonitor`` scores only if there is one.
    attributes_now : callable, optional
        ``(net) -> dict`` of the attributes that the estimator would have if training of
        the net stopped now: a callback that needs a fitted estimator sets these on a
        copy. It is needed for iterations only.
    """

    def __init__(self, estimator, context, X, y, sample_weight, attributes_now=None):
        self.estimator = estimator
        self.context = context
        self.attributes_now = attributes_now
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
            "reconstruction_attributes": lambda: self.attributes_now(net),
        }
