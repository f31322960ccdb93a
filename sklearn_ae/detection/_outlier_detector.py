"""The autoencoder as an outlier detector: where IsolationForest stood."""

from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, _fit_context
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils._param_validation import (
    Interval,
    Options,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_ae._callbacks import FitTasks
from sklearn_ae._runtime import all_or_nothing, random_generator
from sklearn_ae.autoencoder._parameters import CONSTRAINTS
from sklearn_ae.detection._conformal import ConformalMixin
from sklearn_ae.detection._denoisers import Networks
from sklearn_ae.detection._explanation import ExplanationMixin
from sklearn_ae.detection._scorers import fused_scorers, reconstruction_scorers
from sklearn_ae.detection._tail_probability import median_and_range, quantile
from sklearn_ae.detection._trimming import without_copies
from sklearn_ae.tables._rows import checked_weight, merge_equal_rows, n_held_out

# Training rows by which the threshold is set, at the most.
MAX_SCORES = 20_000
# Of the threshold: interquartile ranges from the median.
FENCE = 2.0


class AEOutlierDetector(
    ConformalMixin, ExplanationMixin, CallbackSupportMixin, OutlierMixin, BaseEstimator
):
    """Outlier and novelty detection by autoencoders that restore rows from noise.

    A row is an outlier if a network that has learnt to restore the training rows from
    noise [1]_ fails to restore it, or if the training rows nearest to it are far: each
    piece of evidence is turned into how improbable it is among the training rows, and
    the row's score is the logarithm of the harmonic mean of these p-values [2]_.
    ``method="reconstruction"`` is the textbook's detector instead: minus the error of
    one autoencoder with a bottleneck [3]_.

    Training rows and new ones are scored by the same method, there is no ``novelty``
    switch; see Notes for how each is judged.

    Parameters
    ----------
    contamination : "auto", 0 or float in (0, 0.5], default="auto"
        What is known of the training rows. With 0 they are clean, and all of them are
        trained on ("novelty detection"). With a share, or with "auto" where it is not
        known, some may be outliers: one of two networks then trains on the 40 % of the
        rows that look least like it. A share sets the threshold, too: so many of the
        training rows are below it. With "auto" and 0 the threshold is two
        interquartile ranges below the median score of the training rows.
    method : {"auto", "reconstruction"}, default="auto"
        How rows are scored, as above.
    n_components : int, float in (0, 1) or None, default=None
        Size of the code, as in :class:`AutoencoderTransformer`. None is as many as
        there are columns, 128 at the most (1,024 with ``architecture="conv"``), where
        the networks are trained to denoise (``corruption_level`` above 0), and
        otherwise 0.95. Where that keeps as many as there are columns, as it does of
        independent ones, ``method="reconstruction"`` restores every row and tells
        nothing: set fewer.
    scale : {"auto", "standard", "minmax", "quantile"} or None, default="auto"
        Scaling of the columns, as in :class:`AutoencoderTransformer`. "auto" uses
        several: distances are taken in the first three, and networks work on standard
        columns; with ``architecture="conv"`` it is None. One that is named is used for
        all of them.
    corruption_level : float, (float, float) or "auto", default="auto"
        Its level, or lowest and highest level. "auto" is (0.05, 2.0), of another kind
        of corruption than "gaussian" 0.2, and with ``method="reconstruction"`` 0.
    alpha : float or "auto", default="auto"
        Weight decay. "auto" is 30 divided by the number of rows trained on, between
        0.01 and 1: the fewer rows, the closer networks stay to their linear start. With
        ``method="reconstruction"`` it is 0.01.
    batch_size : int or "auto", default="auto"
        Rows in a mini-batch; "auto" is 512, and with ``method="reconstruction"`` or
        ``architecture="conv"`` as in :class:`AutoencoderTransformer`.
    learning_rate_init : float or "auto", default="auto"
        Peak of the learning rate; "auto" is 0.008, and with ``method="reconstruction"``
        or ``architecture="conv"`` as in :class:`AutoencoderTransformer`.
    max_iter : int or "auto", default="auto"
        Iterations, as in :class:`AutoencoderTransformer`. "auto" is as many as come to
        600 mini-batches with ``contamination=0``, and otherwise to 175 of the first
        network and 125 of the second; with ``method="reconstruction"`` as in
        :class:`AutoencoderTransformer`.
    early_stopping : bool or "auto", default="auto"
        Whether a network stops, and which of its weights it keeps, by rows of its own
        that it does not train on. False trains to the end and keeps the last weights.
        "auto" is True with ``method="reconstruction"`` only.
    validation_fraction : float, default=0.15
        Share of the rows that no network trains on, 50 or a quarter of a small table at
        the least, 5,000 at the most: errors are calibrated, and ``p_values`` computed,
        by them. With ``early_stopping`` as many again are taken from the rest.
    architecture : {"mlp", "conv"} or callable, default="mlp"
        As in :class:`AutoencoderTransformer`. With "conv" rows are restored, to be
        judged, from noise of level 0.8 rather than 0.1: cells of a picture tell much of
        each other.
    hidden_layer_sizes : int, array-like of int or "auto", default="auto"
        Widths of the hidden layers, as in :class:`AutoencoderTransformer`; "auto" of an
        "mlp" is (64, 64, 64).
    input_shape, activation, init, loss, corruption, sparsity, sparsity_weight, \
            sparsity_target, contraction_weight, latent, beta, tol, \
            n_iter_no_change, device, random_state, verbose, net_params
        As in :class:`AutoencoderTransformer`, of each network. With
        ``latent="gaussian"`` what a network says of a row is not its error but its
        log-density. ``tol`` and ``n_iter_no_change`` count with ``early_stopping``.

    Attributes
    ----------
    offset_ : float
        The threshold: ``decision_function`` is ``score_samples`` minus it.
    networks_ : list of AutoencoderTransformer
        The fitted networks. The first is trained on all rows but those held out, the
        second, where there is one, on those of them that are trusted.
    n_iter_ : int
        Iterations run, by all networks together.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where X had names that are all strings.

    See Also
    --------
    sklearn.ensemble.IsolationForest : Outlier detection by random trees.
    sklearn.neighbors.LocalOutlierFactor : By the density around a row.

    Notes
    -----
    With ``method="auto"`` the pieces of evidence are

    * the mean distance to the three nearest of 4,000 training rows, once in standard,
      once in min-max scaled columns and once in normal scores of the columns' ranks;
    * the error of a network that is told the level of the noise, between 0.05 and 2
      standard deviations, in restoring the row from noise of level 0.1: it has no
      bottleneck, but starts as Wiener's filter. The error is the mean over a draw of
      noise in random signs, several where columns are few, the same for all rows, and
      its opposite;
    * unless ``contamination=0``, the same for a network that is trained on trusted
      rows only, and the mean distance to the nearest 5 % of these, in normal scores.
      Trusted are the 40 % that are least suspicious by the sum of classical measures:
      the distance to the nearest 5 % of the rows in each scaling, the Mahalanobis
      distance under a trimmed covariance, and the rarity of the row's cells in
      histograms [4]_.

    Of each the logarithm is compared with that of training rows, 5,000 at the most, of
    the first network's error with that of the rows held out: p is the share of these
    that are as far or farther, and beyond their 80 % quantile falls off exponentially.

    A training row that is an outlier has taught the network, and is the neighbour of
    others like it. Unless ``contamination=0``, training rows are therefore judged by
    the two last pieces, beside which the distance in normal scores has a weight of 0.1,
    and new rows by all of the evidence; but where trusted rows are fewer than eight for
    each column, too few to learn from, all rows are judged by all of it. A row that
    equals a training row, in float32, is taken to be that row, and neither it nor a
    copy of it is among its own three neighbours, unless it has more than three times
    the copies of the usual row.

    Where most rows occur once, the detector learns from those that are repeated as if
    they occurred once, but for a row that is a tenth of the table: an outlier does not
    become normal by repetition. Where repetition is the rule, and with
    ``contamination=0``, rows count by their weight; the threshold counts all copies.

    There is no ``partial_fit``: neighbours, calibration and threshold are of all rows.

    Equal rows are merged and their weights summed: the result depends neither on the
    order of the rows nor on whether one is repeated or weighted.

    References
    ----------
    .. [1] P. Vincent et al. Extracting and composing robust features with denoising
       autoencoders. ICML 2008.
    .. [2] D. J. Wilson. The harmonic mean p-value for combining dependent tests. PNAS
       116, 2019.
    .. [3] S. Hawkins et al. Outlier detection using replicator neural networks. DaWaK
       2002.
    .. [4] M. Goldstein and A. Dengel. Histogram-based outlier score (HBOS). KI 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ae import AEOutlierDetector
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> X[0] = 9
    >>> detector = AEOutlierDetector(random_state=0).fit(X)
    >>> int(detector.score_samples(X).argmin())
    0
    """

    _parameter_constraints: dict = {
        **{
            name: constraint
            for name, constraint in CONSTRAINTS.items()
            if name not in ("prior", "shuffle", "warm_start")
        },
        "contamination": [
            StrOptions({"auto"}),
            Interval(Real, 0, 0.5, closed="right"),
            Options(Real, {0}),
        ],
        "method": [StrOptions({"auto", "reconstruction"})],
        **{
            name: [StrOptions({"auto"}), *CONSTRAINTS[name]]
            for name in ("corruption_level", "alpha", "max_iter", "early_stopping")
        },
    }

    def __init__(
        self,
        contamination="auto",
        *,
        method="auto",
        n_components=None,
        architecture="mlp",
        input_shape=None,
        hidden_layer_sizes="auto",
        activation="silu",
        init="pca",
        scale="auto",
        loss="squared_error",
        corruption="gaussian",
        corruption_level="auto",
        sparsity="kl",
        sparsity_weight=0.0,
        sparsity_target=0.05,
        contraction_weight=0.0,
        latent="deterministic",
        beta=1.0,
        alpha="auto",
        batch_size="auto",
        learning_rate_init="auto",
        max_iter="auto",
        tol=1e-4,
        early_stopping="auto",
        validation_fraction=0.15,
        n_iter_no_change=40,
        device="auto",
        random_state=None,
        verbose=0,
        net_params=None,
    ):
        self.contamination = contamination
        self.method = method
        self.n_components = n_components
        self.architecture = architecture
        self.input_shape = input_shape
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.init = init
        self.scale = scale
        self.loss = loss
        self.corruption = corruption
        self.corruption_level = corruption_level
        self.sparsity = sparsity
        self.sparsity_weight = sparsity_weight
        self.sparsity_target = sparsity_target
        self.contraction_weight = contraction_weight
        self.latent = latent
        self.beta = beta
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
        self.net_params = net_params

    # -- fit ---------------------------------------------------------------------

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Learn what is normal from the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            At least two rows of finite numbers.
        y : Ignored
            Present for API consistency; handed to callbacks that score with it.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; a row of weight w counts as w copies of it.

        Returns
        -------
        self : object
            The fitted estimator. If fit fails, the estimator is as it was before.

        Raises
        ------
        ValueError
            For missing or infinite values, fewer than two rows, or a parameter out of
            its range.
        TypeError
            For sparse input.
        """
        context = self._init_callback_context(max_subtasks=None)
        with all_or_nothing(self):
            X, weight = self._validate(X, sample_weight)
            random = random_generator(self.random_state)
            rows, weight = merge_equal_rows(X, weight, random.randint(2**31 - 1))
            if len(rows) == 1:
                # All rows are equal: two of them, for what needs two.
                rows, weight = rows.repeat(2), weight.repeat(2) / 2
            # Within the task: callbacks at its end see the new threshold.
            with FitTasks(self, context, X, y, sample_weight):
                self._learn(X[rows], weight, random, context)
                self.set_contamination(self.contamination)
        return self

    def _validate(self, X, sample_weight):
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        return X, checked_weight(sample_weight, X, min_rows=2)

    def _learn(self, X, weight, random, context):
        """Judges, and scores to compare theirs with, from distinct rows."""
        is_train = np.arange(len(X)) >= n_held_out(len(X), self.validation_fraction)
        fused = self.method == "auto"
        training_weight = (
            without_copies(weight) if fused and self.contamination else weight
        )
        networks = Networks(self, X, training_weight, is_train, random, context)
        judges = fused_scorers if fused else reconstruction_scorers
        self._scorers = judges(self, X, training_weight, networks)
        self.networks_ = networks.fitted
        some = slice(MAX_SCORES)
        self._fitted_scores = self._scorers.scores(X[some]), weight[some]
        self._held_out = (
            self._scorers.scores_of_new(
                X[~is_train],
                is_training_row=True,
                self_weight=training_weight[~is_train],
            ),
            weight[~is_train],
        )

    def set_contamination(self, contamination):
        """Move the threshold, by the scores of the training rows, without refitting.

        Parameters
        ----------
        contamination : "auto" or float in [0, 0.5]
            As the parameter. What was left out of training stays left out.

        Returns
        -------
        self : object
            With its ``contamination`` and ``offset_`` changed.

        Raises
        ------
        ValueError
            For another contamination.
        """
        check_is_fitted(self, "networks_")
        validate_parameter_constraints(
            {"contamination": self._parameter_constraints["contamination"]},
            {"contamination": contamination},
            caller_name="set_contamination",
        )
        scores, weight = self._fitted_scores
        if contamination in ("auto", 0):
            median, spread = median_and_range(scores, weight)
            self.offset_ = median - FENCE * spread
        else:
            self.offset_ = quantile(scores, weight, contamination)
        self.offset_ = float(self.offset_)
        self.contamination = contamination
        return self

    # -- scores ------------------------------------------------------------------

    @property
    def n_iter_(self):
        """Iterations run, by all networks together."""
        return sum(network.n_iter_ for network in self.networks_)

    def score_samples(self, X):
        """How normal each row is: higher is more normal.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        scores : ndarray of shape (n_samples,), float64
            With ``method="auto"`` the logarithm of the harmonic mean, at most 0, which
            ranks rows but is not itself a p-value: see ``p_values``. With
            "reconstruction" minus the row's ``loss``, averaged over the scaled columns,
            or with ``latent="gaussian"`` the bound of its log-density.
        """
        X = self._check(X)
        return self._scorers.scores(X)

    def decision_function(self, X):
        """``score_samples(X) - offset_``: below 0 for outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        decision : ndarray of shape (n_samples,), float64
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        """Tell outliers by the threshold.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int
            -1 for outliers, 1 for the others.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _check(self, X):
        check_is_fitted(self, "networks_")
        return validate_data(self, X, dtype=np.float64, reset=False)
