"""Semi-supervised regression by a pretrained autoencoder."""

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.callback import with_callbacks
from sklearn.metrics import r2_score

from sklearn_ae._runtime import all_or_nothing, limit_threads
from sklearn_ae.objective import RegressionObjective
from sklearn_ae.semi_supervised._base import PREDICTOR_CONSTRAINTS, _PretrainedPredictor
from sklearn_ae.semi_supervised._labels import (
    encode_numbers,
    merge_rows,
    safe_exponent,
)
from sklearn_ae.semi_supervised._linear_heads import ridge_head


class AutoencoderRegressor(RegressorMixin, _PretrainedPredictor):
    """Semi-supervised regression by a pretrained autoencoder.

    Pretraining fits an autoencoder to all rows, by default a denoising one [1]_. A
    ridge regression on the codes of the labelled rows becomes a linear head on its
    encoder, and both are fine-tuned. The loss is the squared error of labelled rows
    plus virtual adversarial training [2]_ on all rows. If fine-tuning does not improve
    the loss of held-out labelled rows by more than its standard error, the ridge
    regression on the pretrained code is kept.

    Parameters
    ----------
    autoencoder : AutoencoderTransformer, FrozenEstimator or None, default=None
        Autoencoder to pretrain, as in ``AutoencoderClassifier``.
    architecture : {"mlp", "conv"} or callable, default="mlp"
        Architecture of the default autoencoder, as in ``AutoencoderTransformer``.
    input_shape : tuple of int or None, default=None
        Shape that rows were flattened from, for ``architecture="conv"``.
    fine_tune : bool or int, default=True
        If True, the whole encoder is fine-tuned; if an int, its last ``fine_tune``
        layers; if False, the head is a ridge regression on the pretrained code. The
        linear skip path belongs to the last layer. With fewer than 40 labelled rows,
        too few can be held out: the encoder is then not fine-tuned unless
        ``early_stopping=False``.
    consistency_weight : float, default=1.0
        Weight of the virtual adversarial term relative to the squared error. At 0
        fine-tuning is supervised.
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
        If True, a share of the labelled rows is held out and the weights of lowest
        validation loss are kept. If that share is above ``validation_fraction``, as
        with few labels, and fine-tuning improved on the start, it is repeated with all
        labelled rows. If False, all labelled rows are trained on and the last weights
        are kept.
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
    autoencoder_ : AutoencoderTransformer
        The pretrained autoencoder, not fine-tuned.
    n_iter_ : int
        Number of iterations of pretraining and fine-tuning.
    loss_curve_ : list of float
        Mean training loss of each iteration of fine-tuning.
    validation_curve_ : list of float
        Validation loss at the start and after each iteration of the first run of
        fine-tuning: mean squared error of the rows held out over the variance of y.
    best_loss_ : float
        Validation loss of the weights kept from that run; NaN if no rows were held out.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X has names that are all strings.

    See Also
    --------
    AutoencoderClassifier : The same for classes.
    SemiSupervisedSplit : Cross-validation with few labels.

    Notes
    -----
    Equal rows are merged and their weights summed. The virtual adversarial term is
    defined for class probabilities in [2]_; here its divergence is the squared
    difference of two predictions.

    References
    ----------
    .. [1] P. Vincent et al. Stacked denoising autoencoders. Journal of Machine Learning
       Research 11, 2010.
    .. [2] T. Miyato et al. Virtual adversarial training: a regularization method for
       supervised and semi-supervised learning. IEEE TPAMI 41(8), 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_ae import AutoencoderRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> few = np.where(np.arange(442) % 4 == 0, y, np.nan)  # a quarter of the numbers
    >>> regressor = AutoencoderRegressor(random_state=0).fit(X, few)
    >>> regressor.predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints: dict = PREDICTOR_CONSTRAINTS

    def __init__(
        self,
        autoencoder=None,
        *,
        architecture="mlp",
        input_shape=None,
        fine_tune=True,
        consistency_weight=1.0,
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
        """Pretrain on all rows of X and fine-tune on the numbers of y.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            At least two rows of finite numbers.
        y : array-like of shape (n_samples,)
            Numbers. None, NaN and NA mark missing ones; -1 is a number.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights. A row of weight w counts as w copies of it.

        Returns
        -------
        self : object
            The fitted estimator. If fit fails, the estimator is as it was before.

        Raises
        ------
        ValueError
            If X has missing or infinite values, y has no number, an infinite one or
            masked elements, a parameter is out of range, or a fitted ``autoencoder``
            has other columns.
        TypeError
            If X is sparse or ``autoencoder`` of another type.
        """
        context = self._init_callback_context(max_subtasks=None)
        with limit_threads():
            X, weight = self._validate(X, y, sample_weight, reset=True)
            target = encode_numbers(y)
            self._start_random(reset=True)
            labelled, unlabelled = self._merge_rows(X, target, weight)
            labelled = self._standardize(labelled, reset=True)
            scored = None if sample_weight is None else weight
            has_label = ~np.isnan(target)
            with self._fit_tasks(context, X, target, scored, has_label) as tasks:
                self.autoencoder_ = self._pretrain(X, weight, context)
                self._set_head(self._fit_head(labelled))
                self._fine_tune(labelled, unlabelled, tasks)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def partial_fit(self, X, y, sample_weight=None):
        """Fine-tune by one pass over the labelled rows of X, at a constant rate.

        Unlabelled rows contribute as in ``fit``, and no rows are held out. If the first
        call was not preceded by ``fit`` and ``autoencoder`` is not fitted, it pretrains
        on its rows; it also standardises y by their mean and standard deviation. Its
        batch should be representative. The estimator keeps the optimiser's moments from
        then on, twice the size of encoder and head.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Batch of rows.
        y : array-like of shape (n_samples,)
            Numbers. None, NaN and NA mark missing ones; -1 is a number.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        self : object
            The estimator. If the call fails, it is as it was before.

        Raises
        ------
        ValueError
            As in ``fit``; also if a number is more than 1e19 standard deviations from
            the mean of the first call.
        """
        with limit_threads():
            is_first = not hasattr(self, "autoencoder_")
            X, weight = self._validate(X, y, sample_weight, reset=is_first)
            target = encode_numbers(y)
            self._start_random(reset=is_first)
            labelled, unlabelled = self._merge_rows(X, target, weight)
            labelled = self._standardize(labelled, reset=is_first)
            if is_first:
                self.autoencoder_ = self._pretrain(X, weight)
            self._fine_tune_once(labelled, unlabelled)
        return self

    def _merge_rows(self, X, target, weight):
        labelled = ~np.isnan(target)
        return merge_rows(X, target, labelled, weight, self._draw_seed())

    def _standardize(self, labelled, *, reset):
        """Return the rows with standardised targets, by the first call's moments."""
        if reset:
            self._y_exponent = safe_exponent(labelled.target)
        with np.errstate(over="ignore", invalid="ignore"):
            target = np.ldexp(labelled.target, -self._y_exponent)
            if reset:
                self._y_mean = np.average(target, weights=labelled.weight)
                squares = np.square(target - self._y_mean)
                std = np.sqrt(np.average(squares, weights=labelled.weight))
                self._y_std = std if std > 0 else 1.0
            scaled = (target - self._y_mean) / self._y_std
        self._refuse_far(labelled.target, scaled)
        return labelled._replace(target=scaled)

    def _refuse_far(self, y, scaled):
        """Raise ValueError for numbers whose square is past a network's float32."""
        is_far = ~(np.abs(scaled) < np.sqrt(np.finfo(np.float32).max))
        if is_far.any():
            mean, std = np.ldexp([self._y_mean, self._y_std], self._y_exponent)
            raise ValueError(
                f"y has {y[is_far][0]!s}, too far from the mean of the first call's "
                f"numbers, {mean:.3g} (standard deviation {std:.3g}): leave such rows "
                "out, transform y, or call fit on representative rows first."
            )

    # -- hooks of the base class -------------------------------------------------

    def _linear_head(self, Z, target, weight):
        return ridge_head(Z, target, weight)

    def _criterion(self, target, weight, device):
        return RegressionObjective()

    def _batch_target(self, target):
        return target[:, None].astype(np.float32)

    def _holdout(self, target, n):
        return np.arange(n)

    # -- predictions -------------------------------------------------------------

    def predict(self, X):
        """Predict numbers for the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        y : ndarray of shape (n_samples,), float64
            Predictions in the units of the y of ``fit``; finite, as the largest number
            of float64 stands for larger ones.
        """
        outputs = self._outputs(X)[:, 0]
        with np.errstate(over="ignore"):
            predicted = outputs * self._y_std + self._y_mean
            predicted = np.ldexp(predicted, self._y_exponent)
        largest = np.finfo(np.float64).max
        return np.clip(predicted, -largest, largest)

    def score(self, X, y, sample_weight=None):
        """Coefficient of determination R^2 on the rows whose number is not missing.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.
        y : array-like of shape (n_samples,)
            Numbers; rows with None, NaN or NA are left out.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        score : float
            At most 1; predicting the mean scores 0.

        Raises
        ------
        ValueError
            If no row has a number.
        """
        y = encode_numbers(y)
        labelled = ~np.isnan(y)
        rows, X, weight = self._labelled_rows(labelled, X, sample_weight)
        predicted, y = self.predict(X), y[labelled][rows]
        # R^2 is a ratio: a common power of two keeps its squares finite.
        exponent = max(safe_exponent(y), safe_exponent(predicted), key=abs)
        return r2_score(
            np.ldexp(y, -exponent), np.ldexp(predicted, -exponent), sample_weight=weight
        )
