"""Outlier detection by autoencoders."""

from itertools import count
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
from sklearn.utils.validation import check_is_fitted

from sklearn_ae._callbacks import FitTasks
from sklearn_ae._pickling import PicklingMixin
from sklearn_ae._runtime import all_or_nothing, limit_threads, random_generator
from sklearn_ae._validation import checked_table, checked_weight
from sklearn_ae.autoencoder._parameters import CONSTRAINTS, validate_given
from sklearn_ae.autoencoder._transformer import AutoencoderTransformer
from sklearn_ae.detection._conformal import MIN_CALIBRATION_ROWS, ConformalMixin
from sklearn_ae.detection._denoiser import fit_denoiser
from sklearn_ae.detection._explanation import ExplanationMixin
from sklearn_ae.detection._row_weights import in_copies, without_copies
from sklearn_ae.detection._scorer import (
    ReconstructionScore,
    Scorer,
    tail_probability_score,
)
from sklearn_ae.detection._tail_probability import just_below, median_and_iqr, quantile
from sklearn_ae.tables._rows import merge_equal_rows, n_held_out, systematic_sample

# Training rows whose scores the threshold is computed from.
MAX_THRESHOLD_ROWS = 20_000
# Training rows whose medians take the place of reconstructions past float64.
MAX_MEDIAN_ROWS = 5_000
# Tukey's fence (1977), 1.5 interquartile ranges beyond a quartile, is two from the
# median of a symmetric distribution.
TUKEY_FENCE_IQRS = 2.0


class AEOutlierDetector(
    ConformalMixin,
    ExplanationMixin,
    PicklingMixin,
    CallbackSupportMixin,
    OutlierMixin,
    BaseEstimator,
):
    """Outlier and novelty detection by a denoising autoencoder and nearest neighbors.

    Two kinds of measures are combined: the error of an autoencoder that is trained to
    restore rows from noise [1]_, and distances to the nearest training rows. Each
    becomes a tail probability by its distribution over the training rows; the score of
    a row is their mean logarithm [2]_. ``method="reconstruction"`` is the classical
    detector instead: minus the reconstruction error of one autoencoder with a
    bottleneck [3]_.

    Training rows and new rows are scored by the same function; there is no ``novelty``
    parameter.

    Parameters
    ----------
    contamination : "auto", 0 or float in (0, 0.5], default="auto"
        Proportion of outliers in the training rows. 0 is novelty detection: distances
        are to all rows. With "auto", for an unknown proportion, or a float some are to
        trusted rows only, which lie amid many others. A float sets the threshold to
        that quantile of the training scores; "auto" and 0 set it two interquartile
        ranges below their median.
    method : {"auto", "reconstruction"}, default="auto"
        Method of scoring, as above.
    autoencoder : AutoencoderTransformer or None, default=None
        Settings of the network: it is cloned and trained with its own parameters, but
        for ``random_state`` and, if they are set here, ``device`` and ``verbose``. With
        ``method="auto"`` distances are taken in its ``scale`` unless that is "auto".
        With ``latent="gaussian"`` minus the log-density of a row takes the place of the
        error. None is a denoising autoencoder without a bottleneck, described in Notes;
        with ``method="reconstruction"`` it is :class:`AutoencoderTransformer` with
        three hidden layers of 64.
    architecture : {"mlp", "conv"} or callable, default="mlp"
        Architecture of the default autoencoder, as in :class:`AutoencoderTransformer`.
    input_shape : tuple of int or None, default=None
        Shape of a row for ``architecture="conv"``, as in
        :class:`AutoencoderTransformer`.
    validation_fraction : float, default=0.15
        Proportion of the rows that the network is not trained on; 50 or a quarter of a
        small table at least, 5,000 at most. Errors are calibrated by them, and
        ``p_values`` until ``calibrate`` gives other rows.
    holdout : {"random", "last"}, default="random"
        Rows that ``p_values`` are from: those that are held out, drawn at random, or
        with "last", for rows in time order, as many of the last rows. These set the
        threshold, too, and nothing else: the result is that of ``fit`` with the rows
        before them, a share of which is held out to calibrate errors, and ``calibrate``
        with them. It takes 76 rows, or fewer with a larger ``validation_fraction``,
        for 19 last ones.
    device : str, default="auto"
        Torch device of the network. "auto" is that of ``autoencoder``, whose "auto" is
        "cuda" if there is a GPU, else "cpu".
    random_state : int, RandomState instance or None, default=None
        Determines the rows that are held out and the seed of the network. Pass an int
        for reproducible results.
    verbose : int, default=0
        Above 0, the network prints a line for each iteration.

    Attributes
    ----------
    offset_ : float
        The threshold: ``decision_function`` is ``score_samples`` minus it.
    autoencoder_ : AutoencoderTransformer
        The fitted network. It is trained on all rows but those held out.
    n_iter_ : int
        Number of iterations of the network.
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
    There is no ``predict_proba``: use ``p_values``, which say how rare so low a score
    is among normal rows, or ``select_outliers``.

    With ``method="auto"`` the measures are

    * the mean Manhattan distance to the three nearest of up to 700 training rows [4]_,
      in standardised columns;
    * the mean Manhattan distance to the nearest tenth of the trusted rows, in
      standardised columns, and once more in the inverse hyperbolic sine of their
      robust units, in which heavy tails are short;
    * the error of the network in restoring the row from noise with a standard deviation
      of 0.1 (0.8 with ``architecture="conv"``), averaged over fixed draws of random
      signs and their opposites: each cell's loss is divided by the column's median over
      the rows held out, and the error is the mean of log(1 + loss).

    Trusted rows are the 70 % of up to 600 training rows whose nearest tenth of these is
    within the smallest distance. Clusters of outliers of less than a tenth of the rows
    are found; larger ones may pass for normal. With ``contamination=0`` the distances
    are to the three nearest of up to 2,000 training rows, in min-max scaling and in
    normal scores. With ``architecture="conv"`` columns keep their common unit.

    The logarithm of a measure is taken to be logistic, with the median of up to 5,000
    training rows and their mean excess over it; that of the error is by the rows held
    out. The score is the mean logarithm of the tail probabilities.

    A row is not among its neighbors: one training row that equals it, to rounding, is
    left out. A training row is so compared with the others, and a new row with all.

    The score of a row does not depend on the rows that it is sent with, beyond 1e-9 of
    it; a score equal to the threshold is an inlier's, and equal to a held-out row's is
    as low.

    The default autoencoder has ``hidden_layer_sizes=(64, 64, 64)``, as many components
    as there are columns, up to 128, and ``corruption_level=(0.05, 2.0)``. It is trained
    for 600 mini-batches of 512 rows, with ``learning_rate_init=0.008``,
    ``early_stopping=False`` and ``alpha`` of 30 divided by the number of rows, between
    0.01 and 1. With ``architecture="conv"`` hidden layers, batches and rate are those
    of :class:`AutoencoderTransformer` and there are up to 1,024 components.

    Equal rows are merged and their weights summed: the result depends neither on the
    order of the rows nor on whether one is repeated or weighted. Unless
    ``contamination=0``, copies are not counted in training where most rows have none,
    but for a row that is a tenth of the table. There is no ``partial_fit``: distances
    and thresholds are of all rows.

    References
    ----------
    .. [1] P. Vincent et al. Extracting and composing robust features with denoising
       autoencoders. ICML 2008.
    .. [2] R. A. Fisher. Statistical methods for research workers, section 21.1. 1932.
    .. [3] S. Hawkins et al. Outlier detection using replicator neural networks. DaWaK
       2002.
    .. [4] M. Sugiyama and K. M. Borgwardt. Rapid distance-based outlier detection via
       sampling. NeurIPS 2013.

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
        "contamination": [
            StrOptions({"auto"}),
            Interval(Real, 0, 0.5, closed="right"),
            Options(Real, {0}),
        ],
        "method": [StrOptions({"auto", "reconstruction"})],
        "autoencoder": [AutoencoderTransformer, None],
        **{
            name: CONSTRAINTS[name]
            for name in (
                "architecture",
                "input_shape",
                "validation_fraction",
                "device",
                "random_state",
                "verbose",
            )
        },
        "holdout": [StrOptions({"random", "last"})],
    }

    def __init__(
        self,
        contamination="auto",
        *,
        method="auto",
        autoencoder=None,
        architecture="mlp",
        input_shape=None,
        validation_fraction=0.15,
        holdout="random",
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.contamination = contamination
        self.method = method
        self.autoencoder = autoencoder
        self.architecture = architecture
        self.input_shape = input_shape
        self.validation_fraction = validation_fraction
        self.holdout = holdout
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    # -- fit ---------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    @with_callbacks
    def fit(self, X, y=None, sample_weight=None):
        """Learn what is normal from the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            At least two rows of finite numbers.
        y : Ignored
            Present for API consistency; handed to callbacks that score with it.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; a row of weight w counts as w copies of it. Only
            ratios count, also of weights that are no whole numbers.

        Returns
        -------
        self : object
            The fitted estimator. If fit fails, the estimator is as it was before.

        Raises
        ------
        ValueError
            For missing or infinite values, fewer than two rows, a parameter out of its
            range, or ``architecture`` or ``input_shape`` beside ``autoencoder``. If
            ``holdout="last"`` holds out fewer than 19 rows.
        TypeError
            For sparse input, or an ``autoencoder`` of another type.

        Warns
        -----
        UserWarning
            If most of the rows that ``holdout="last"`` holds out equal earlier ones.
        """
        context = self._init_callback_context(max_subtasks=None)
        with limit_threads():
            X, weight = self._validate(X, sample_weight)
            (earlier, weight), last = self._split(X, weight)
            random = random_generator(self.random_state)
            rows, weight = merge_equal_rows(earlier, weight, random.randint(2**31 - 1))
            if len(rows) == 1:
                # All rows are equal: two of them, for what needs two.
                rows, weight = rows.repeat(2), weight.repeat(2) / 2
            # Within the task: callbacks at its end see the new threshold.
            with FitTasks(self, context, X, y, sample_weight):
                self._learn(earlier[rows], in_copies(weight), random, context)
                if last is None:
                    self.set_contamination(self.contamination)
                else:
                    self._calibrate(*last, "leave late copies out", stacklevel=7)
        return self

    def _validate(self, X, sample_weight):
        if self.autoencoder is not None:
            validate_given(self.autoencoder, self)
        X = checked_table(self, X, dtype=np.float64, reset=True, min_rows=2)
        return X, checked_weight(sample_weight, X, min_rows=2)

    def _split(self, X, weight):
        """Rows to fit on with their weights, and the last ones that are held out."""
        weight = np.ones(len(X)) if weight is None else weight
        if self.holdout == "random":
            return (X, weight), None
        X, weight = X[weight > 0], weight[weight > 0]
        fraction, minimum = self.validation_fraction, MIN_CALIBRATION_ROWS
        n_last = n_held_out(len(X), fraction)
        if n_last < minimum:
            enough = next(
                n for n in count(len(X)) if n_held_out(n, fraction) >= minimum
            )
            raise ValueError(
                f"holdout='last' holds out the last {n_last} of {len(X)} rows, but "
                f"threshold and p-values take {minimum}. Fit on {enough} rows or more, "
                "set a larger validation_fraction, or holdout='random'."
            )
        return (X[:-n_last], weight[:-n_last]), (X[-n_last:], weight[-n_last:])

    def _learn(self, X, weight, random, context):
        """Fit scorer, and score training rows, from distinct rows."""
        n = n_held_out(len(X), self.validation_fraction)
        fused = self.method == "auto"
        training_weight = (
            without_copies(weight) if fused and self.contamination else weight
        )
        fitted_on = X[n:], training_weight[n:]
        self.autoencoder_ = fit_denoiser(self, *fitted_on, random, context)
        if fused:
            score = tail_probability_score(self, X, training_weight, n)
        else:
            some = systematic_sample(fitted_on[1], MAX_MEDIAN_ROWS)
            median = np.median(fitted_on[0][some], axis=0)
            score = ReconstructionScore(self.autoencoder_, median)
        self._scorer = Scorer(score, X)
        scores = self._scorer.scores(X[:MAX_THRESHOLD_ROWS])
        self._fitted_scores = scores, weight[:MAX_THRESHOLD_ROWS]
        self._held_out = scores[:n], weight[:n]

    def set_contamination(self, contamination):
        """Set the threshold by the scores of the training rows, without refitting.

        After ``calibrate`` it is set by the scores of its rows.

        Parameters
        ----------
        contamination : "auto" or float in [0, 0.5]
            As the parameter. The network stays as it is.

        Returns
        -------
        self : object
            With its ``contamination`` and ``offset_`` changed.

        Raises
        ------
        ValueError
            For another contamination.
        """
        check_is_fitted(self, "autoencoder_")
        validate_parameter_constraints(
            {"contamination": self._parameter_constraints["contamination"]},
            {"contamination": contamination},
            caller_name="set_contamination",
        )
        scores, weight = self._fitted_scores
        if contamination in ("auto", 0):
            median, iqr = median_and_iqr(scores, weight)
            offset = median - TUKEY_FENCE_IQRS * iqr
        else:
            offset = quantile(scores, weight, contamination)
        self.offset_ = float(just_below(offset))
        self.contamination = contamination
        return self

    # -- scores ------------------------------------------------------------------

    @property
    def n_iter_(self):
        """Number of iterations of the autoencoder."""
        return self.autoencoder_.n_iter_

    def score_samples(self, X):
        """Score rows: higher is more normal.

        For how rare a score is among normal rows, ask ``p_values``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        scores : ndarray of shape (n_samples,), float64
            With ``method="auto"`` the mean logarithm of the measures' tail
            probabilities, at most 0: it ranks rows but is itself no p-value. With
            "reconstruction" minus the row's loss, averaged over the scaled columns, or
            with ``latent="gaussian"`` the lower bound of its log-density.
        """
        X = self._check(X)
        return self._scorer.scores(X)

    def decision_function(self, X):
        """``score_samples(X) - offset_``: below 0 for outliers.

        For how rare a score is among normal rows, ask ``p_values``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        decision : ndarray of shape (n_samples,), float64
        """
        check_is_fitted(self, "autoencoder_")
        # First: another thread may fit the detector meanwhile.
        offset = self.offset_
        return self.score_samples(X) - offset

    def predict(self, X):
        """Predict outliers by the threshold.

        There is no ``predict_proba``: for how rare a row's score is among normal rows,
        ask ``p_values``; for outliers at a false discovery rate, ``select_outliers``.

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

    def _check(self, X, min_rows=1):
        check_is_fitted(self, "autoencoder_")
        return checked_table(self, X, dtype=np.float64, min_rows=min_rows)
