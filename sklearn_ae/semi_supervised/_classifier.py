"""Semi-supervised classification by a pretrained autoencoder."""

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.callback import with_callbacks
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from sklearn_ae._runtime import all_or_nothing, limit_threads
from sklearn_ae.objective import ClassificationObjective, temperature
from sklearn_ae.semi_supervised._base import PREDICTOR_CONSTRAINTS, _PretrainedPredictor
from sklearn_ae.semi_supervised._labels import (
    MISSING_LABELS,
    UNLABELLED,
    all_classes,
    class_weights,
    encode_classes,
    merge_rows,
    read_labels,
    refuse_empty_class,
    stratified_holdout,
)
from sklearn_ae.semi_supervised._linear_heads import logistic_head


class AutoencoderClassifier(ClassifierMixin, _PretrainedPredictor):
    """Semi-supervised classification by a pretrained autoencoder.

    Pretraining fits an autoencoder to all rows, by default a denoising one [1]_. A
    logistic regression on the codes of the labelled rows becomes a linear head on its
    encoder, and both are fine-tuned. The loss is the cross-entropy of labelled rows
    plus, on all rows, virtual adversarial training [2]_ and, on unlabelled rows,
    entropy minimisation with a class-balance term [3]_. These assume that regions of
    low density separate the classes. If fine-tuning does not improve the loss of
    held-out labelled rows by more than its standard error, the logistic regression on
    the pretrained code is kept.

    Parameters
    ----------
    autoencoder : AutoencoderTransformer, FrozenEstimator or None, default=None
        Autoencoder to pretrain. If it is fitted, a copy is used as it is; ``clone``,
        and with it a grid search, makes it unfitted unless it is wrapped in a
        :class:`sklearn.frozen.FrozenEstimator`. None is
        ``AutoencoderTransformer(n_components=0.99, corruption_level=0.5, alpha=1.0)``,
        or with ``scale=None, corruption_level=1.0`` if the columns look like pixels:
        all have the same minimum, half the same maximum, and nine in ten more than two
        values.
    architecture : {"mlp", "conv"} or callable, default="mlp"
        Architecture of the default autoencoder, as in ``AutoencoderTransformer``.
    input_shape : tuple of int or None, default=None
        Shape that rows were flattened from, for ``architecture="conv"``.
    fine_tune : bool or int, default=True
        If True, the whole encoder is fine-tuned; if an int, its last ``fine_tune``
        layers; if False, the head is a logistic regression on the pretrained code. The
        linear skip path belongs to the last layer. With fewer than 40 labelled rows,
        too few can be held out: the encoder is then not fine-tuned unless
        ``early_stopping=False``.
    consistency_weight : float, default=1.0
        Weight of the virtual adversarial, entropy and class-balance terms relative to
        the cross-entropy. At 0 fine-tuning is supervised.
    class_weight : dict, "balanced" or None, default=None
        Class weights, as in scikit-learn's classifiers.
    missing_label : {"auto", -1, None}, default="auto"
        Meaning of the number -1 in y. None, NaN and NA always mark a missing label.

        - -1: it marks one, as in scikit-learn's semi-supervised estimators.
        - None: it is a class like any other.
        - "auto": as -1, except that labels -1 and 1 alone are two classes, as in
          scikit-learn's other classifiers. A warning is issued then, and for -1
          beside other negative labels, beside None, NaN or NA, or beside 0 and 1 alone
          if one of them is as frequent.

        The text "-1", "nan", "None" or "<NA>" is a class, with a warning unless
        ``missing_label`` is None.
    alpha : float, default=0.01
        Weight decay of fine-tuning (decoupled, AdamW).
    batch_size : int or "auto", default="auto"
        Rows in a mini-batch of labelled rows and in one of all rows. "auto" is 64.
    learning_rate_init : float or "auto", default="auto"
        Peak learning rate of fine-tuning. "auto" is 0.003. In ``partial_fit`` the
        learning rate is constant at a tenth of it.
    max_iter : int, default=40
        Iterations of fine-tuning, of 25 mini-batches each.
    tol : float, default=1e-4
        Smallest improvement that counts, relative to the loss.
    early_stopping : bool, default=True
        If True, a stratified share of the labelled rows is held out and the weights of
        lowest validation loss are kept. If that share is above
        ``validation_fraction``, as with few labels, and fine-tuning improved on the
        start, it is repeated with all labelled rows. If False, all labelled rows are
        trained on and the last weights are kept.
    validation_fraction : float, default=0.1
        Share of the labelled rows to hold out. At least 50 are, or a quarter of fewer
        than 200.
    n_iter_no_change : int, default=40
        Iterations without an improvement, in the validation loss or else in the
        training loss, after which fine-tuning stops.
    device : str, default="auto"
        Torch device. "auto" is "cuda" if there is a GPU, else "cpu".
    random_state : int, RandomState instance or None, default=None
        As in ``AutoencoderTransformer``; it also seeds pretraining.
    verbose : int, default=0
        If above 0, each iteration prints a line.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    autoencoder_ : AutoencoderTransformer
        The pretrained autoencoder, not fine-tuned.
    temperature_ : float
        Temperature by which ``predict_proba`` divides logits (temperature scaling
        [4]_), fitted to the rows held out, at least 1. It is 1 if no rows were held out
        or the encoder was not fine-tuned.
    n_iter_ : int
        Number of iterations of pretraining and fine-tuning.
    loss_curve_ : list of float
        Mean training loss of each iteration of fine-tuning.
    validation_curve_ : list of float
        Validation loss at the start and after each iteration of the first run of
        fine-tuning: cross-entropy of the rows held out, in nats, each time at its best
        temperature.
    best_loss_ : float
        Validation loss of the weights kept from that run; NaN if no rows were held out.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X has names that are all strings.

    See Also
    --------
    AutoencoderRegressor : The same for numbers.
    SemiSupervisedSplit : Cross-validation with few labels.
    sklearn.semi_supervised.SelfTrainingClassifier : Learns from its own predictions.

    Notes
    -----
    Equal rows are merged and their weights summed. If all rows are labelled and
    ``consistency_weight=0``, fine-tuning is supervised training from pretrained
    weights.

    References
    ----------
    .. [1] P. Vincent et al. Stacked denoising autoencoders. Journal of Machine Learning
       Research 11, 2010.
    .. [2] T. Miyato et al. Virtual adversarial training: a regularization method for
       supervised and semi-supervised learning. IEEE TPAMI 41(8), 2018.
    .. [3] A. Krause, P. Perona and R. Gomes. Discriminative clustering by regularized
       information maximization. NeurIPS 2010.
    .. [4] C. Guo et al. On calibration of modern neural networks. ICML 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_ae import AutoencoderClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> few = np.where(np.arange(150) % 10 == 0, y, -1)  # a tenth of the labels
    >>> classifier = AutoencoderClassifier(random_state=0).fit(X, few)
    >>> classifier.predict(X[[0, 75, 140]])
    array([0, 1, 2])
    """

    _parameter_constraints: dict = PREDICTOR_CONSTRAINTS | {
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "missing_label": MISSING_LABELS,
    }

    def __init__(
        self,
        autoencoder=None,
        *,
        architecture="mlp",
        input_shape=None,
        fine_tune=True,
        consistency_weight=1.0,
        class_weight=None,
        missing_label="auto",
        alpha=0.01,
        batch_size="auto",
        learning_rate_init="auto",
        max_iter=40,
        tol=1e-4,
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=40,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.autoencoder = autoencoder
        self.architecture = architecture
        self.input_shape = input_shape
        self.fine_tune = fine_tune
        self.consistency_weight = consistency_weight
        self.class_weight = class_weight
        self.missing_label = missing_label
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Pretrain on all rows of X and fine-tune on the labels of y.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            At least two rows of finite numbers.
        y : array-like of shape (n_samples,)
            Labels: whole numbers, booleans or text. None, NaN and NA mark a missing
            label, as does the number -1, but see ``missing_label``. Nullable and
            categorical dtypes keep the type of their values.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights. A row of weight w counts as w copies of it.

        Returns
        -------
        self : object
            The fitted estimator. If fit fails, the estimator is as it was before.

        Raises
        ------
        ValueError
            If X has missing or infinite values, y fewer than two classes, both numbers
            and text, or masked elements, a class only rows of weight zero, a parameter
            is out of range, or a fitted ``autoencoder`` has other columns.
        TypeError
            If X is sparse or ``autoencoder`` of another type.
        """
        context = self._init_callback_context(max_subtasks=None)
        with limit_threads():
            X, weight = self._validate(X, y, sample_weight, reset=True)
            target, self.classes_ = encode_classes(y, None, self.missing_label)
            self._start_random(reset=True)
            labelled, unlabelled = self._merge_rows(X, target, weight)
            self._class_weight = class_weights(
                self.class_weight, self.classes_, labelled
            )
            refuse_empty_class(self.classes_, labelled.target)
            scored = None if sample_weight is None else weight
            y, has_label = self.classes_[target], target != UNLABELLED
            with self._fit_tasks(context, X, y, scored, has_label) as tasks:
                self.autoencoder_ = self._pretrain(X, weight, context)
                self._set_head(self._fit_head(labelled))
                self._fine_tune(labelled, unlabelled, tasks)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Fine-tune by one pass over the labelled rows of X, at a constant rate.

        Unlabelled rows contribute as in ``fit``, and no rows are held out. If the first
        call was not preceded by ``fit`` and ``autoencoder`` is not fitted, it pretrains
        on its rows: its batch should be representative. The estimator keeps the
        optimiser's moments from then on, twice the size of encoder and head.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Batch of rows.
        y : array-like of shape (n_samples,)
            Labels, as in ``fit``.
        classes : array-like of shape (n_classes,), default=None
            All classes. The first call needs them if its batch lacks some. With
            ``missing_label="auto"`` -1 is a class if it is among them, else no label.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        self : object
            The estimator. If the call fails, it is as it was before.

        Raises
        ------
        ValueError
            As in ``fit``; also if a label is not among the classes, if classes differ
            from those of the first call, or if no row of the batch is labelled.
        """
        with limit_threads():
            is_first = not hasattr(self, "autoencoder_")
            X, weight = self._validate(X, y, sample_weight, reset=is_first)
            fitted = getattr(self, "classes_", None)
            classes = all_classes(fitted, classes, self.missing_label)
            target, self.classes_ = encode_classes(y, classes, self.missing_label)
            self._start_random(reset=is_first)
            labelled, unlabelled = self._merge_rows(X, target, weight)
            if is_first:
                self._class_weight = class_weights(
                    self.class_weight, self.classes_, labelled
                )
                self.autoencoder_ = self._pretrain(X, weight)
            self._fine_tune_once(labelled, unlabelled)
        return self

    def _merge_rows(self, X, target, weight):
        labelled = target != UNLABELLED
        return merge_rows(X, target, labelled, weight, self._draw_seed())

    def _linear_head(self, Z, target, weight):
        weight = weight * self._class_weight[target]
        return logistic_head(Z, target, weight, len(self.classes_))

    def _criterion(self, target, weight, device):
        n_classes = len(self.classes_)
        # One row more (Laplace smoothing): a class may have none in a batch.
        mass = np.bincount(target, weights=weight, minlength=n_classes) + 1
        prior = self._class_weight * mass
        # Its logarithm is taken in float32.
        prior = np.maximum(prior / prior.sum(), np.finfo(np.float32).tiny)
        parts = prior, np.log(self._class_weight)
        return ClassificationObjective(
            *(torch.from_numpy(p).float().to(device) for p in parts)
        )

    def _batch_target(self, target):
        return target

    def _holdout(self, target, n):
        return stratified_holdout(target, n)

    def _set_head(self, head):
        super()._set_head(head)
        self.temperature_ = 1.0

    def _set_fitted(self, net, monitored):
        super()._set_fitted(net, monitored)
        if monitored is not None:
            _, weight, target = monitored.__getitems__(slice(None))
            logits = net.criterion_.unweighted(net.outputs(monitored))
            self.temperature_ = temperature(logits, target, weight)

    # -- predictions -------------------------------------------------------------

    def decision_function(self, X):
        """Logits of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        logits : ndarray of shape (n_samples,) or (n_samples, n_classes), float64
            Logits over ``temperature_``; for two classes, the second's minus the
            first's.
        """
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_proba(self, X):
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes), float64
            Columns in the order of ``classes_``.
        """
        return softmax(self._logits(X), axis=1)

    def predict(self, X):
        """Predict the class of highest probability.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Elements of ``classes_``.
        """
        best = self._logits(X).argmax(axis=1)
        return self.classes_[best]

    def predict_log_proba(self, X):
        """Predict logarithms of class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        logarithms : ndarray of shape (n_samples, n_classes), float64
            Columns in the order of ``classes_``.
        """
        return log_softmax(self._logits(X), axis=1)

    def score(self, X, y, sample_weight=None):
        """Accuracy on labelled rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.
        y : array-like of shape (n_samples,)
            Labels; rows whose label is missing, as in ``fit``, are left out. With
            ``missing_label="auto"`` -1 is a label if it is among ``classes_``.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        score : float
            Weighted share of correct predictions, from 0 to 1.

        Raises
        ------
        ValueError
            If no row has a label.
        """
        check_is_fitted(self, "autoencoder_")
        labels = read_labels(y, self.missing_label, self.classes_)
        rows, X, weight = self._labelled_rows(labels.labelled, X, sample_weight)
        return super().score(X, labels.values[rows], weight)

    def _logits(self, X):
        """Return logits (n, n_classes), scaled but for the offset of class weights."""
        outputs, offset = self._outputs(X), np.log(self._class_weight)
        return (outputs - offset) / self.temperature_ + offset
