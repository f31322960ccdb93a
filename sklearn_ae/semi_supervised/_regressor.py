"""Regression with few labels: an autoencoder of all rows first."""

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.callback import with_callbacks

from sklearn_ae._callbacks import FitTasks
from sklearn_ae._runtime import all_or_nothing
from sklearn_ae.objective import RegressionObjective
from sklearn_ae.semi_supervised._base import PREDICTOR_CONSTRAINTS, _PretrainedPredictor
from sklearn_ae.semi_supervised._labels import encoded_numbers, merged, some_rows
from sklearn_ae.semi_supervised._linear_heads import ridge_head


class AutoencoderRegressor(RegressorMixin, _PretrainedPredictor):
    """Regression that learns from rows without a number as well.

    Phase 1 trains an autoencoder on all rows, by default one that restores them from
    noise [1]_. Phase 2 puts a linear head on its encoder, a ridge regression on the
    codes of the rows that have a number, and fine-tunes both: numbers are to be told
    rightly, and for rows without one they are to be the same half-way to the row's
    nearest neighbour, in whatever direction changes them most [2]_. Where that is not
    better on rows that are held out, the ridge regression on the autoencoder's code is
    what is kept.

    Parameters
    ----------
    autoencoder : AutoencoderTransformer, FrozenEstimator or None, default=None
        What phase 1 trains, as in ``AutoencoderClassifier``.
    architecture : {"mlp", "conv"} or callable, default="mlp"
        Of the default autoencoder.
    input_shape : tuple of int or None, default=None
        What a row was flattened from, for ``architecture="conv"``.
    fine_tune : bool or int, default=True
        Whether phase 2 trains the encoder, too; of an int its last so many layers, to
        which the linear path belongs. With fewer than 40 rows with a number there are
        too few to judge by: the encoder then stays, unless ``early_stopping=False``.
    consistency_weight : float, default=1.0
        Of what is asked of all rows, beside the loss of those with a number: the same
        one nearby. At 0 fine-tuning is supervised.
    alpha : float, default=0.01
        Weight decay in phase 2 (decoupled, AdamW).
    batch_size : int or "auto", default="auto"
        Rows in a mini-batch of each kind, with a number and without: 64.
    learning_rate_init : float or "auto", default="auto"
        Peak of the learning rate in phase 2: 0.003; in ``partial_fit``, where it is
        constant, a tenth of that.
    max_iter : int, default=40
        Iterations of phase 2, of 25 mini-batches each, each time that it is run.
    tol : float, default=1e-4
        Smallest gain that counts, as a share of the loss.
    early_stopping : bool, default=True
        Whether rows with a number are held out, and the weights kept that are best
        there. Where they are more than ``validation_fraction`` of few, and these are
        better than the start, phase 2 is run again on all. False trains on all, and
        keeps the last weights.
    validation_fraction : float, default=0.1
        Share of the rows with a number to hold out; at the least 50, or a quarter of
        few.
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
    autoencoder_ : AutoencoderTransformer
        Of phase 1, as it was before fine-tuning.
    n_iter_ : int
        Iterations of both phases.
    loss_curve_ : list of float
        Mean training loss of each iteration of phase 2.
    validation_curve_ : list of float
        Mean squared error of the rows held out, over the variance of y: at the start
        and after each iteration of the first run.
    best_loss_ : float
        The one by which that run's weights were kept; NaN where no rows were held out.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where X had names that are all strings.

    See Also
    --------
    AutoencoderClassifier : The same for classes.

    References
    ----------
    .. [1] P. Vincent et al. Stacked denoising autoencoders. Journal of Machine Learning
       Research 11, 2010.
    .. [2] T. Miyato et al. Virtual adversarial training: a regularization method for
       supervised and semi-supervised learning. IEEE TPAMI 41(8), 2018. NOTE: there of
       classes; of numbers the divergence is the squared difference.

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

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Learn from all rows of X, and from the numbers that there are.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            At least two rows of finite numbers.
        y : array-like of shape (n_samples,)
            Numbers; NaN and None are none.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; a row of weight w counts as w copies of it.

        Returns
        -------
        self : object
            The fitted estimator. If fit fails, the estimator is as it was before.

        Raises
        ------
        ValueError
            For missing values in X, infinite ones, a y without a number, a parameter
            out of its range, or an autoencoder of other columns.
        TypeError
            For sparse input, or another kind of autoencoder.
        """
        context = self._init_callback_context(max_subtasks=None)
        with all_or_nothing(self):
            X, weight = self._checked(X, y, sample_weight, reset=True)
            rows = self._started(X, encoded_numbers(y), weight, cold=True)
            with FitTasks(self, context, X, y, sample_weight) as tasks:
                self.autoencoder_ = self._pretrained(X, weight, context)
                self._learn(*rows, tasks)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Go on with phase 2: one pass over the rows of X with a number.

        The learning rate is constant, and rows without a number take part as in
        ``fit``. The first call, if there was no ``fit``, trains the autoencoder on its
        rows, unless a fitted one is given, and takes y's mean and spread for the unit;
        it should then get a batch that stands for all. No row is held out.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            A batch of rows.
        y : array-like of shape (n_samples,)
            Numbers; NaN and None are none.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        self : object
            The estimator. If the call fails, it is as it was before.

        Raises
        ------
        ValueError
            As in ``fit``.
        """
        with all_or_nothing(self):
            cold = not hasattr(self, "autoencoder_")
            X, weight = self._checked(X, y, sample_weight, reset=cold)
            rows = self._started(X, encoded_numbers(y), weight, cold=cold)
            if cold:
                self.autoencoder_ = self._pretrained(X, weight)
            self._learn_once(*rows)
        return self

    def _started(self, X, target, weight, *, cold):
        """Labelled and unlabelled rows, merged; at a cold start y's unit, too."""
        self._start_random(cold=cold)
        labelled, others = merged(
            X, target, ~np.isnan(target), weight, self._draw_seed()
        )
        if cold:
            self._mean = np.average(labelled.target, weights=labelled.weight)
            apart = np.square(labelled.target - self._mean)
            unit = np.sqrt(np.average(apart, weights=labelled.weight))
            self._unit = unit if unit > 0 else 1.0
        scaled = (labelled.target - self._mean) / self._unit
        return labelled._replace(target=scaled), others

    # -- what is learnt ----------------------------------------------------------

    def _linear_head(self, Z, target, weight):
        return ridge_head(Z, target, weight)

    def _criterion(self, target, weight, device):
        return RegressionObjective()

    def _in_batches(self, target):
        return target[:, None].astype(np.float32)

    def _holdout(self, target, n):
        return np.arange(n)

    # -- predictions -------------------------------------------------------------

    def predict(self, X):
        """Numbers for the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        y : ndarray of shape (n_samples,), float64
            In the units of ``fit``'s.
        """
        outputs = self._outputs(X)
        return outputs[:, 0] * self._unit + self._mean

    def score(self, X, y, sample_weight=None):
        """R^2 on the rows that have a number.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.
        y : array-like of shape (n_samples,)
            Numbers; rows without one are left out.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        score : float
            1 is perfect, 0 no better than the mean.
        """
        rows = np.flatnonzero(~np.isnan(encoded_numbers(y)))
        return super().score(*some_rows(rows, X, y, sample_weight))
