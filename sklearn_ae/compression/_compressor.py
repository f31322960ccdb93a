"""Estimator that compresses rows, and decompresses them."""

import math
import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, _fit_context, clone
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, check_scalar

from sklearn_ae._callbacks import FitTasks
from sklearn_ae._pickling import PicklingMixin
from sklearn_ae._runtime import all_or_nothing, limit_threads, random_generator
from sklearn_ae._validation import checked_table, checked_weight
from sklearn_ae.autoencoder._inference import CodesMixin
from sklearn_ae.autoencoder._parameters import (
    CONSTRAINTS,
    clone_given,
    is_conv,
    max_iterations,
    validate_given,
)
from sklearn_ae.autoencoder._transformer import AutoencoderTransformer
from sklearn_ae.compression._container import storable
from sklearn_ae.compression._entropy_coding import require_constriction
from sklearn_ae.compression._error_bound import bounds_of_columns, refuse_rounded
from sklearn_ae.compression._rate_distortion import check_settings, fit_rate_distortion
from sklearn_ae.compression._rate_target import Rate
from sklearn_ae.compression._residuals import ResidualGrid
from sklearn_ae.compression._step_search import fit_codec, search
from sklearn_ae.tables._column_scaler import columns_look_like_pixels


class AutoencoderCompressor(
    CodesMixin, PicklingMixin, CallbackSupportMixin, BaseEstimator
):
    """Lossy or error-bounded compression of rows by an autoencoder.

    The code of an autoencoder is quantised uniformly and entropy-coded. The network is
    trained for that: uniform noise stands for the rounding, and the loss is the code
    length in addition to the squared error [1]_. Training starts at PCA, and keeps PCA
    if the trained network is no better on held-out rows. With ``error_bound`` the
    residuals of the decoded rows are quantised and stored, too, which bounds the error
    of every cell; a bound of 0 is lossless.

    Parameters
    ----------
    target_psnr : float or None, default=None
        Peak signal-to-noise ratio (dB) of the decoded rows, as measured on held-out
        rows: ``-10 log10`` of the mean squared error of a cell, in units of its
        column's range (see ``scale``), before integers are rounded. float32 limits it
        to about 140 dB. None is 30, unless ``bits_per_component``, ``n_components`` or
        ``error_bound`` is set.
    bits_per_component : float or None, default=None
        Maximum mean code length of a component of the code, in bits. It excludes
        ``target_psnr``.
    n_components : int, float in (0, 1) or None, default=None
        Size of the code, or the share of the variance that PCA with this size explains.
        If no other rate is set, the step is that at which reverse water-filling just
        stores PCA's last component [2]_. None is the ``n_components`` of
        ``autoencoder``; if that is None, too, it is 0.95 with ``bits_per_component``,
        and otherwise the number of PCA's components whose variance exceeds a quarter of
        the distortion.
    error_bound : float, array-like of shape (n_features,) or None, default=None
        Maximum absolute error of a cell, in input units, for all columns or each. A
        Series is aligned with the names of the columns. 0 is lossless, for columns of
        integers only, and keeps the sign of -0.0. Without ``target_psnr``,
        ``bits_per_component`` and ``n_components`` the step minimises the bits of code
        and residuals together. None does not bound the error.
    autoencoder : AutoencoderTransformer or None, default=None
        Settings of the network and its training. A clone is fitted, also of a fitted
        one, with this estimator's ``random_state``. ``latent``, ``prior``, ``loss``,
        ``init``, ``corruption_level``, ``sparsity_weight``, ``contraction_weight``,
        ``early_stopping``, ``warm_start`` and ``scale`` must have their defaults;
        ``learning_rate_init="auto"`` is at most ``0.08 / sqrt(n_features)``. None is
        ``AutoencoderTransformer()`` with the parameters below.
    architecture : {"mlp", "conv"} or callable, default="mlp"
        Architecture of the default ``autoencoder``.
    input_shape : tuple of int or None, default=None
        Shape that a row was flattened from, for ``architecture="conv"``.
    scale : {"auto", "minmax"} or None, default="auto"
        Unit of errors: "minmax" is the range of each column, None the range of all
        columns together. "auto" is None for convolutions and for columns that look like
        pixels: all have the same minimum, at least half the same maximum, and nine in
        ten more than two values. Otherwise it is "minmax".
    device : str, default="auto"
        A torch device. "auto" is that of ``autoencoder``, whose "auto" is "cuda" if
        there is a GPU, else "cpu".
    random_state : int, RandomState instance or None, default=None
        An int gives the same network, and the same bytes, at each fit.
    verbose : int, default=0
        Above 0, a line for each iteration. 0 is the ``verbose`` of ``autoencoder``.

    Attributes
    ----------
    bits_per_row_ : float
        Mean code length of a held-out row, in bits. A stream adds 52 bytes, some 20 for
        each block of up to 4,096 rows, and the signs of zeros if one is -0.0.
    psnr_ : float
        PSNR (dB) of the held-out rows, decoded without residuals.
    step_ : float
        Quantisation step of the code, in scaled units.
    n_components_ : int
        Size of the code.
    module_ : torch.nn.Module
        The fitted network in float32, from scaled rows to scaled rows, with its
        ``encoder`` and ``decoder``.
    n_iter_ : int
        Iterations run, those of the pilot fit included.
    loss_curve_ : list of float
        Mean training loss of each iteration: nats per cell plus the mean squared error
        of a cell, over twice the distortion that is trained for.
    validation_curve_ : list of float
        Loss on the held-out rows, at the start and after each iteration.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where X had names that are all strings.

    See Also
    --------
    AutoencoderTransformer : Autoencoder whose code is not rounded.

    Notes
    -----
    The stream does not contain the model: decoding needs the same fitted estimator, and
    a fingerprint in the stream identifies it. Without ``error_bound``, other machines
    decode the same rows up to float32's rounding; with it, to the bit.

    All components have the same step, the optimum by reverse water-filling [2]_. Each
    has its own table of frequencies for the range coder of ``constriction`` [3]_.

    References
    ----------
    .. [1] J. Balle, V. Laparra and E. P. Simoncelli. End-to-end optimized image
       compression. ICLR 2017.
    .. [2] T. M. Cover and J. A. Thomas. Elements of information theory, 10.3.3. Wiley
       2006.
    .. [3] R. Bamler. Understanding entropy coding with asymmetric numeral systems
       (ANS): a statistician's perspective. arXiv:2201.01741, 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_ae import AutoencoderCompressor, AutoencoderTransformer
    >>> X = load_digits().data.astype("uint8")
    >>> quick = AutoencoderTransformer(max_iter=5)
    >>> compressor = AutoencoderCompressor(20, autoencoder=quick, random_state=0)
    >>> stream = compressor.fit(X).compress(X)
    >>> compressor.decompress(stream).shape
    (1797, 64)
    >>> X.nbytes > 5 * len(stream)
    True
    """

    _parameter_constraints: dict = {
        "target_psnr": [None, Interval(Real, 0, None, closed="neither")],
        "bits_per_component": [None, Interval(Real, 0, None, closed="neither")],
        "n_components": CONSTRAINTS["n_components"],
        "error_bound": [None, Interval(Real, 0, None, closed="left"), "array-like"],
        "autoencoder": [AutoencoderTransformer, None],
        "scale": [StrOptions({"auto", "minmax"}), None],
        **{
            name: CONSTRAINTS[name]
            for name in (
                "architecture",
                "input_shape",
                "device",
                "random_state",
                "verbose",
            )
        },
    }

    def __init__(
        self,
        target_psnr=None,
        *,
        bits_per_component=None,
        n_components=None,
        error_bound=None,
        autoencoder=None,
        architecture="mlp",
        input_shape=None,
        scale="auto",
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.target_psnr = target_psnr
        self.bits_per_component = bits_per_component
        self.n_components = n_components
        self.error_bound = error_bound
        self.autoencoder = autoencoder
        self.architecture = architecture
        self.input_shape = input_shape
        self.scale = scale
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    # -- fit ---------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    @with_callbacks
    def fit(self, X, y=None, sample_weight=None):
        """Fit the network, the step and the tables of frequencies to X.

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
            For missing or infinite values, fewer than two rows, a parameter out of its
            range, parameters or settings of ``autoencoder`` that exclude each other, or
            a bound of 0 for a column that is not of integers.
        TypeError
            For sparse input, or another kind of ``autoencoder``.
        ImportError
            Without the extra ``sklearn-ae[compression]``, before training.
        """
        context = self._init_callback_context(max_subtasks=None)
        with limit_threads():
            X, weight = self._validate(X, sample_weight)
            with FitTasks(self, context, X, y, sample_weight):
                self._learn(X, weight, context)
        return self

    def _validate(self, X, sample_weight):
        require_constriction()
        if self.target_psnr is not None and self.bits_per_component is not None:
            raise ValueError(
                f"target_psnr={self.target_psnr!r} and bits_per_component="
                f"{self.bits_per_component!r} are two rates: set one of them to None."
            )
        if self.autoencoder is not None:
            validate_given(self.autoencoder, self)
            check_settings(self.autoencoder, self.scale)
        X = self._check(X, reset=True, min_rows=2)
        return X, checked_weight(sample_weight, X, min_rows=2)

    def _learn(self, X, weight, context):
        training_rows = X if weight is None else X[weight > 0]
        residuals, rate = self._residuals(training_rows), self._rate()
        autoencoder = self._autoencoder_to_train(training_rows)
        # Each fit holds out the same rows.
        seed = random_generator(self.random_state).randint(2**31 - 1)

        def fit(training_target, share):
            max_iter = math.ceil(share * max_iterations(autoencoder))
            new = clone(autoencoder).set_params(max_iter=max_iter, random_state=seed)
            task = context.subcontext(task_name="autoencoder")
            with task.propagate_callback_context(new):
                return fit_rate_distortion(new, X, weight, training_target, **residuals)

        best, fits = search(fit, X, rate, residuals)
        last = fits[-1]
        self.psnr_ = last.psnr_of(best.error)
        # An interruption is warned of, and more training may reach the target.
        if best.falls_short and not last.net.was_interrupted:
            warnings.warn(
                f"target_psnr={rate.target_psnr:g} is not reached: decoded rows have "
                f"{self.psnr_:.1f} dB. Ask for less, give more components or more "
                "rows, or set error_bound.",
                ConvergenceWarning,
                stacklevel=6,
            )
        self._codec = fit_codec(best, last.data, X, residuals)
        self.bits_per_row_, self.step_ = best.bits, best.step
        self.n_iter_ = sum(one.net.n_iter_ for one in fits)
        self.loss_curve_ = last.net.loss_curve_
        self.validation_curve_ = last.net.validation_curve_

    def _residuals(self, X):
        """Return the bounds and the columns of integers; empty without a bound."""
        if self.error_bound is None:
            return {}
        names = getattr(self, "feature_names_in_", None)
        bound = bounds_of_columns(self.error_bound, names, X.shape[1])
        is_integer = np.full(X.shape[1], X.dtype.kind in "iu")
        if X.dtype.kind == "f":
            is_integer = (np.rint(X) == X).all(axis=0)
        # Raises for cells that can't be held to their bound, before training.
        ResidualGrid(bound).place(X, is_integer)
        return {"error_bound": bound, "is_integer": is_integer}

    def _autoencoder_to_train(self, X):
        """Return the compressor's own autoencoder, or a clone of the given one."""
        if self.autoencoder is None:
            new = AutoencoderTransformer(
                architecture=self.architecture,
                input_shape=self.input_shape,
                device=self.device,
                verbose=self.verbose,
            )
        else:
            new = clone_given(self.autoencoder, self)
        # The number of components is part of the rate.
        new.set_params(n_components=None, scale=self.scale)
        if new.scale == "auto":
            in_one_unit = is_conv(new) or columns_look_like_pixels(X)
            new.scale = None if in_one_unit else "minmax"
        return new

    def _rate(self):
        n_components = self.n_components
        if n_components is None and self.autoencoder is not None:
            n_components = self.autoencoder.n_components
        rate = Rate(n_components, self.target_psnr, self.bits_per_component)
        if rate.bits_per_component is not None and n_components is None:
            return rate._replace(n_components=0.95)
        if not any(rate) and self.error_bound is None:
            return rate._replace(target_psnr=30.0)
        return rate

    # -- bytes -------------------------------------------------------------------

    def compress(self, X):
        """Encode the rows of X as bytes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units; none make a stream of no rows. Integers and floats of
            up to 64 bits keep their dtype; booleans become uint8, all other numbers
            float64.

        Returns
        -------
        stream : bytes

        Raises
        ------
        ValueError
            For missing or infinite values, or cells that can't be held to
            ``error_bound``.
        """
        check_is_fitted(self, "_codec")
        return self._codec.compress(self._check(X, min_rows=0))

    def decompress(self, stream, *, max_rows="auto"):
        """Decode a stream of ``compress``.

        Parameters
        ----------
        stream : bytes-like
            From anywhere: any bytes give rows or a ``ValueError``.
        max_rows : int, None or "auto", default="auto"
            Maximum number of rows. A stream that states more is refused before memory
            is taken for them: the number is not bounded by the size of a stream, which
            anyone can write. "auto" is as many rows as take 512 MiB in their dtype;
            None is any number, for streams that you trust. ``stream_info`` reads the
            number beforehand.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows in input units, in the dtype that they had in ``compress``.

        Raises
        ------
        ValueError
            For a stream that is truncated, damaged, of more than ``max_rows`` rows, or
            written by another model.
        TypeError
            For another kind of ``max_rows``.

        See Also
        --------
        stream_info : Number of rows, columns and dtype of a stream.
        """
        check_is_fitted(self, "_codec")
        if max_rows is not None and max_rows != "auto":
            check_scalar(max_rows, "max_rows", Integral, min_val=0)
        return self._codec.decompress(stream, max_rows)

    # -- codes -------------------------------------------------------------------

    def transform(self, X):
        """Encode the rows of X, rounded as they are stored.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_components_), or as ``set_output`` says
            Whole multiples of ``step_``: float32 for float32, else float64.
        """
        check_is_fitted(self, "_codec")
        X = self._check(X)
        values = self._codec.quantiser.values(self._codec.symbols(X))
        return values.astype(np.float32) if X.dtype == np.float32 else values

    def inverse_transform(self, X):
        """Decode codes, without the residuals that ``error_bound`` stores.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components_)
            Codes.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features_in_)
            Rows in input units: float32 for float32, else float64.
        """
        check_is_fitted(self, "_codec")
        return self._inference.decode(self._checked_code(X))

    @property
    def _inference(self):
        return self._codec.autoencoder

    @property
    def module_(self):
        """Fitted network. Changes to it do not reach the fingerprint of streams."""
        return self._inference.module

    @property
    def n_components_(self):
        """Size of the code."""
        return self.module_.n_components

    def _check(self, X, *, reset=False, min_rows=1):
        """Return X in a dtype that a stream may have."""
        given = X
        X = checked_table(self, X, dtype="numeric", reset=reset, min_rows=min_rows)
        X = storable(X)
        if self.error_bound is not None and X.dtype == np.float64:
            refuse_rounded(X, given)
        return X
