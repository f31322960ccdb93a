"""Classification with few labels: an autoencoder of all rows first."""

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.callback import with_callbacks
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import check_is_fitted

from sklearn_ae._callbacks import FitTasks
from sklearn_ae._runtime import all_or_nothing
from sklearn_ae.objective import ClassificationObjective, temperature
from sklearn_ae.semi_supervised._base import PREDICTOR_CONSTRAINTS, _PretrainedPredictor
from sklearn_ae.semi_supervised._labels import (
    UNLABELLED,
    encoded_classes,
    labelled_rows,
    merged,
    some_rows,
    stratified_holdout,
)
from sklearn_ae.semi_supervised._linear_heads import logistic_head


class AutoencoderClassifier(ClassifierMixin, _PretrainedPredictor):
    """Classification that learns from rows without a label as well.

    Phase 1 trains an autoencoder on all rows, by default one that restores them from
    noise [1]_. Phase 2 puts a linear head on its encoder, a logistic regression on the
    codes of the rows that have a label, and fine-tunes both. The labels are then to be
    told rightly, and for rows without one the answer is to be clear, not the same for
    all [2]_, and the same half-way to the row's nearest neighbour, in whatever
    direction changes it most [3]_: classes are taken to be parted by regions with few
    rows. Where that does not show on labelled rows that are held out, the logistic
    regression on the autoencoder's code is what is kept.

    Parameters
    ----------
    autoencoder : AutoencoderTransformer, FrozenEstimator or None, default=None
        What phase 1 trains: its variant, its architecture. Of one that is fitted a copy
        is taken as it is; ``clone``, and with it a grid search, makes it unfitted
        unless it is in a ``sklearn.frozen.FrozenEstimator``. None is a denoising one:
        ``AutoencoderTransformer(n_components=0.99, corruption_level=0.5, alpha=1.0)``,
        or with ``scale=None, corruption_level=1.0`` where the columns are measured in
        one unit: all have the same lowest value, half the same highest, nine in ten
        more than two values.
    architecture : {"mlp", "conv"} or callable, default="mlp"
        Of that default autoencoder.
    input_shape : tuple of int or None, default=None
        What a row was flattened from, for ``architecture="conv"``.
    fine_tune : bool or int, default=True
        Whether phase 2 trains the encoder, too; of an int its last so many layers, to
        which the linear path belongs. With fewer than 40 labelled rows there are too
        few to hold out and judge by: the encoder then stays as it is, unless
        ``early_stopping=False``.
    consistency_weight : float, default=1.0
        Of what is asked of all rows, beside the loss of those with a label: the same
        answer nearby and, without a label, a clear one. At 0 fine-tuning is supervised.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, as scikit-learn's.
    alpha : float, default=0.01
        Weight decay in phase 2 (decoupled, AdamW).
    batch_size : int or "auto", default="auto"
        Rows in a mini-batch of each kind, with a label and without: 64.
    learning_rate_init : float or "auto", default="auto"
        Peak of the learning rate in phase 2: 0.003; in ``partial_fit``, where it is
        constant, a tenth of that.
    max_iter : int, default=40
        Iterations of phase 2, of 25 mini-batches each, each time that it is run.
    tol : float, default=1e-4
        Smallest gain that counts, as a share of the loss.
    early_stopping : bool, default=True
        Whether labelled rows are held out, of each class its share, and the weights
        kept that are best there. Where they are more than ``validation_fraction`` of
        few, and these are better than the start, phase 2 is run again on all. False
        trains on all, and keeps the last weights.
    validation_fraction : float, default=0.1
        Share of the labelled rows to hold out; at the least 50, or a quarter of few.
    n_iter_no_change : int, default=40
        Iterations without a gain, on the rows held out or else in the training loss,
        after which phase 2 stops.
    device : str, default="auto"
        A torch device. "auto" is "cuda" where there is a GPU, else "cpu".
    random_state : int, RandomState instance or None, default=None
        As of ``AutoencoderTransformer``; also of the autoencoder that phase 1 trains.
    verbose : int, default=0
        Above 0, a line for each iteration.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, in order.
    autoencoder_ : AutoencoderTransformer
        Of phase 1, as it was before fine-tuning.
    temperature_ : float
        What logits are divided by in ``predict_proba``: the best for the rows held out,
        and at least 1 [4]_. 1 where none were, or where the encoder stays.
    n_iter_ : int
        Iterations of both phases.
    loss_curve_ : list of float
        Mean training loss of each iteration of phase 2.
    validation_curve_ : list of float
        Cross-entropy of the rows held out, each time at its best temperature, in nats:
        at the start and after each iteration of the first run.
    best_loss_ : float
        The one by which that run's weights were kept; NaN where no rows were held out.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where X had names that are all strings.

    See Also
    --------
    AutoencoderRegressor : The same for numbers.
    sklearn.semi_supervised.SelfTrainingClassifier : Learns from its own answers.

    Notes
    -----
    Equal rows are merged, their weights summed. Where all rows have a label, phase 2
    is supervised training that starts at the encoder of phase 1.

    References
    ----------
    .. [1] P. Vincent et al. Stacked denoising autoencoders. Journal of Machine Learning
       Research 11, 2010.
    .. [2] A. Krause, P. Perona and R. Gomes. Discriminative clustering by regularized
       information maximization. NeurIPS 2010.
    .. [3] T. Miyato et al. Virtual adversarial training: a regularization method for
       supervised and semi-supervised learning. IEEE TPAMI 41(8), 2018.
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
        "class_weight": [dict, StrOptions({"balanced"}), None]
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

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Learn from all rows of X, and from the labels that there are.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            At least two rows of finite numbers.
        y : array-like of shape (n_samples,)
            Labels: numbers or text. None, NaN, and the number -1, are no label; -1 is
            one where the only other is 1.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; a row of weight w counts as w copies of it.

        Returns
        -------
        self : object
            The fitted estimator. If fit fails, the estimator is as it was before.

        Raises
        ------
        ValueError
            For missing or infinite values, fewer than two classes, a class whose rows
            all have weight zero, a parameter out of its range, or an autoencoder of
            other columns.
        TypeError
            For sparse input, or another kind of autoencoder.
        """
        context = self._init_callback_context(max_subtasks=None)
        with all_or_nothing(self):
            X, weight = self._checked(X, y, sample_weight, reset=True)
            target, self.classes_ = encoded_classes(y)
            rows = self._started(X, target, weight)
            self._refuse_empty_classes(rows[0].target)
            with FitTasks(self, context, X, y, sample_weight) as tasks:
                self.autoencoder_ = self._pretrained(X, weight, context)
                self._learn(*rows, tasks)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Go on with phase 2: one pass over the labelled rows of X, at a constant rate.

        Rows without a label take part as in ``fit``. The first call, if there was no
        ``fit``, trains the autoencoder on its rows, unless a fitted one is given; it
        should then get a batch that stands for all. No row is held out.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            A batch of rows.
        y : array-like of shape (n_samples,)
            Labels, as in ``fit``.
        classes : array-like of shape (n_classes,), default=None
            All labels there will be; needed where the first batch lacks some. If -1 is
            among them, it is a class.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        self : object
            The estimator. If the call fails, it is as it was before.

        Raises
        ------
        ValueError
            As in ``fit``; also for a label that is not among the classes, classes
            that have changed, or a batch without a label.
        """
        with all_or_nothing(self):
            cold = not hasattr(self, "autoencoder_")
            X, weight = self._checked(X, y, sample_weight, reset=cold)
            known = self._known_classes(classes)
            target, self.classes_ = encoded_classes(y, known)
            rows = self._started(X, target, weight, cold=cold)
            if cold:
                self.autoencoder_ = self._pretrained(X, weight)
            self._learn_once(*rows)
        return self

    def _started(self, X, target, weight, *, cold=True):
        """Labelled and unlabelled rows, merged, weighted by class."""
        self._start_random(cold=cold)
        labelled, others = merged(
            X, target, target != UNLABELLED, weight, self._draw_seed()
        )
        if cold:
            self._class_weight = self._class_weights(labelled)
        return labelled, others

    def _class_weights(self, rows):
        classes, weights = self.classes_, np.ones(len(self.classes_))
        if isinstance(self.class_weight, dict):
            # Of all classes, those without a row as yet among them.
            weights = compute_class_weight(
                self.class_weight, classes=classes, y=classes
            )
        else:
            present = np.unique(rows.target)
            weights[present] = compute_class_weight(
                self.class_weight,
                classes=classes[present],
                y=classes[rows.target],
                sample_weight=rows.weight,
            )
        if weights.min() < 0:
            raise ValueError(f"class_weight={self.class_weight!r} has one below 0.")
        # Of a class of no weight the logarithm is to be finite.
        return np.maximum(weights, np.finfo(np.float32).tiny)

    def _refuse_empty_classes(self, target):
        empty = np.setdiff1d(np.arange(len(self.classes_)), target)
        if len(empty):
            name = self.classes_.tolist()[empty[0]]
            raise ValueError(
                f"sample_weight is zero for all rows of class {name!r}: give them "
                "weight, or leave them out."
            )

    def _known_classes(self, classes):
        fitted = getattr(self, "classes_", None)
        if classes is None:
            return fitted
        classes = np.unique(classes)
        if fitted is not None and not np.array_equal(classes, fitted):
            raise ValueError(
                f"classes={classes.tolist()} are not those of the first call: "
                f"{fitted.tolist()}."
            )
        if len(classes) < 2:
            raise ValueError(
                f"classes={classes.tolist()} has to name two classes or more."
            )
        return classes

    # -- what is learnt ----------------------------------------------------------

    def _linear_head(self, Z, target, weight):
        weight = weight * self._class_weight[target]
        return logistic_head(Z, target, weight, len(self.classes_))

    def _criterion(self, target, weight, device):
        n_classes = len(self.classes_)
        mass = np.bincount(target, weights=weight, minlength=n_classes) + 1
        prior = self._class_weight * mass
        parts = prior / prior.sum(), np.log(self._class_weight)
        return ClassificationObjective(
            *(torch.from_numpy(p).float().to(device) for p in parts)
        )

    def _in_batches(self, target):
        return target

    def _holdout(self, target, n):
        return stratified_holdout(target, n)

    def _take(self, head):
        super()._take(head)
        self.temperature_ = 1.0

    def _fitted(self, net, judged):
        fitted = super()._fitted(net, judged)
        if judged is None:
            return fitted
        _, weight, target = judged.__getitems__(slice(None))
        logits = net.criterion_.unweighted(net.outputs(judged))
        softening = temperature(logits, target, weight)
        return fitted | {"temperature_": softening}

    # -- predictions -------------------------------------------------------------

    def decision_function(self, X):
        """Logit of each class; of two classes, by how much the second is ahead.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        logits : ndarray of shape (n_samples,) or (n_samples, n_classes), float64
            At ``temperature_``.
        """
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_proba(self, X):
        """Probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes), float64
            In the order of ``classes_``.
        """
        return softmax(self._logits(X), axis=1)

    def predict(self, X):
        """The likeliest class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
        """
        best = self._logits(X).argmax(axis=1)
        return self.classes_[best]

    def predict_log_proba(self, X):
        """Logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        logarithms : ndarray of shape (n_samples, n_classes), float64
            In the order of ``classes_``.
        """
        return log_softmax(self._logits(X), axis=1)

    def score(self, X, y, sample_weight=None):
        """Accuracy on the rows that have a label.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.
        y : array-like of shape (n_samples,)
            Labels; rows without one, as in ``fit``, are left out.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        score : float
            From 0 to 1.
        """
        check_is_fitted(self, "autoencoder_")
        rows = np.flatnonzero(labelled_rows(y, self.classes_))
        X, y, sample_weight = some_rows(rows, X, y, sample_weight)
        # In the dtype that labels have without missing ones.
        return super().score(X, np.array(list(y)), sample_weight)

    def _logits(self, X):
        """Logits (n, n_classes) at the temperature, and by the classes' weights."""
        outputs, shift = self._outputs(X), np.log(self._class_weight)
        return (outputs - shift) / self.temperature_ + shift
