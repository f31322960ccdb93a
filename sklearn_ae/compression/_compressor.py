"""Rows to few bytes, and back."""

import math
import warnings
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_ae._callbacks import FitTasks
from sklearn_ae._runtime import all_or_nothing, random_generator
from sklearn_ae.autoencoder._inference import CodesMixin
from sklearn_ae.autoencoder._parameters import CONSTRAINTS, is_conv, max_iterations
from sklearn_ae.compression._container import storable
from sklearn_ae.compression._error_bound import bounds_of_columns, refuse_rounded
from sklearn_ae.compression._rate_autoencoder import RateDistortionAutoencoder
from sklearn_ae.compression._rate_target import Rate
from sklearn_ae.compression._residuals import ResidualGrid
from sklearn_ae.compression._step_search import fit_codec, search
from sklearn_ae.tables._column_scaler import columns_look_like_pixels
from sklearn_ae.tables._rows import checked_weight

# Where no rate is asked for; and where bits a component are, and not how many.
TARGET_PSNR, N_COMPONENTS = 30.0, 0.95
# What the autoencoder is given as it is.
_PASSED_ON = (
    "architecture",
    "input_shape",
    "hidden_layer_sizes",
    "activation",
    "alpha",
    "batch_size",
    "learning_rate_init",
    "max_iter",
    "tol",
    "validation_fraction",
    "n_iter_no_change",
    "device",
    "random_state",
    "verbose",
    "net_params",
)


class AutoencoderCompressor(CodesMixin, CallbackSupportMixin, BaseEstimator):
    """Lossy compression of rows by an autoencoder, or lossless beside one.

    The code of an autoencoder is rounded to steps and stored by a range coder. The
    network is trained for just that: in place of rounding there is uniform noise, and
    the loss is the code's bits beside the squared error [1]_. It starts at PCA, whose
    rounded code costs the fewest bits of all linear ones, and where the trained network
    is not better on rows held out, PCA is what is kept. ``error_bound`` also stores
    what the decoded rows miss, so that no cell is further off.

    Parameters
    ----------
    target_psnr : float or None, default=None
        Peak signal-to-noise ratio in dB that decoded rows should have, as measured on
        rows held out: ``-10 log10`` of the mean squared error of a cell, in units of
        its column's range, or of all columns' where they have one unit (see ``scale``),
        before whole numbers are rounded. Above about 140 dB float32 ends what a network
        can tell. None is 30, unless another rate is asked for.
    bits_per_component : float or None, default=None
        Bits to spend on a component of the code, on average at the most. Not together
        with ``target_psnr``.
    n_components : int, float in (0, 1) or None, default=None
        Size of the code. A float is the share of the variance that as many components
        of PCA explain. Without another rate the step is that at which the last of PCA's
        components is just worth storing. None is as many as are worth their bits; with
        ``bits_per_component`` it is 0.95.
    error_bound : float, array-like of shape (n_features,) or None, default=None
        Greatest absolute error of a cell, in input units, for each column or all. 0 is
        lossless, for columns of whole numbers only. What remains of each cell is then
        stored, too, and unless a rate is asked for the code takes as many bits as save
        more than they cost. A Series goes by the names of the columns. None is no
        bound.
    architecture : {"mlp", "conv"} or callable, default="mlp"
        As in ``AutoencoderTransformer``.
    input_shape : tuple of int or None, default=None
        What a row was flattened from, for ``architecture="conv"``.
    hidden_layer_sizes : int, array-like of int or "auto", default="auto"
        As in ``AutoencoderTransformer``.
    activation : {"silu", "relu", "gelu", "tanh", "logistic", "identity"}, \
            default="silu"
        Activation of the hidden layers.
    scale : {"auto", "minmax"} or None, default="auto"
        What counts as an error: a share of each column's range, or, with None, of the
        range of all. "auto" is None with ``architecture="conv"`` and for columns that
        are told to have one unit: half of them or more have the same range, nine in ten
        have more than two values. Else it is "minmax".
    alpha : float, default=0.01
        Weight decay (decoupled, AdamW).
    batch_size : int or "auto", default="auto"
        As in ``AutoencoderTransformer``.
    learning_rate_init : float or "auto", default="auto"
        As in ``AutoencoderTransformer``, but "auto" is 0.08 over the root of n_features
        at the most.
    max_iter : int or "auto", default="auto"
        As in ``AutoencoderTransformer``.
    tol : float, default=1e-4
        Smallest gain on the rows held out that counts, as a share of their loss.
    validation_fraction : float, default=0.1
        Share of the rows to hold out: 5,000 at the most, and at the least 50 or a
        quarter of a small table.
    n_iter_no_change : int, default=40
        Iterations without a gain after which training stops.
    device : str, default="auto"
        A torch device. "auto" is "cuda" where there is a GPU, else "cpu".
    random_state : int, RandomState instance or None, default=None
        An int gives the same network, and the same bytes, at each fit.
    verbose : int, default=0
        Above 0, a line for each iteration.
    net_params : dict or None, default=None
        As in ``AutoencoderTransformer``.

    Attributes
    ----------
    bits_per_row_ : float
        Mean code length of the rows held out, in bits; a stream has 52 bytes more, and
        some 20 for each block of up to 4,096 rows.
    psnr_ : float
        In dB, of the rows held out as decoded from the code alone.
    step_ : float
        Distance of neighbouring values of a component.
    n_components_ : int
        Size of the code.
    module_ : torch.nn.Module
        The fitted network in float32, from scaled rows to scaled rows, with its
        ``encoder`` and ``decoder``.
    n_iter_ : int
        Iterations run.
    loss_curve_ : list of float
        Mean training loss of each iteration: nats a cell and, beside them, the squared
        error in units of twice the level from which PCA stores a direction.
    validation_curve_ : list of float
        The same of the rows held out, at the start and after each iteration.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where X had names that are all strings.

    See Also
    --------
    AutoencoderTransformer : The same without rounding.

    Notes
    -----
    The model is no part of the stream: whoever decodes needs the same fitted estimator,
    and a fingerprint tells whether it is. Steps and networks decode alike on every
    machine but for the last bits of float32; with ``error_bound`` what is decoded is
    the same, bit for bit.

    Every component has the same step, as reverse water-filling asks for [2]_; each is
    coded by a table of frequencies of its own, by ``constriction`` [3]_.

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
    >>> from sklearn_ae import AutoencoderCompressor
    >>> X = load_digits().data.astype("uint8")
    >>> compressor = AutoencoderCompressor(target_psnr=20, max_iter=5, random_state=0)
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
        "error_bound": [None, Interval(Real, 0, 1e300, closed="both"), "array-like"],
        "scale": [StrOptions({"auto", "minmax"}), None],
        **{name: CONSTRAINTS[name] for name in _PASSED_ON},
    }

    def __init__(
        self,
        target_psnr=None,
        *,
        bits_per_component=None,
        n_components=None,
        error_bound=None,
        architecture="mlp",
        input_shape=None,
        hidden_layer_sizes="auto",
        activation="silu",
        scale="auto",
        alpha=0.01,
        batch_size="auto",
        learning_rate_init="auto",
        max_iter="auto",
        tol=1e-4,
        validation_fraction=0.1,
        n_iter_no_change=40,
        device="auto",
        random_state=None,
        verbose=0,
        net_params=None,
    ):
        self.target_psnr = target_psnr
        self.bits_per_component = bits_per_component
        self.n_components = n_components
        self.error_bound = error_bound
        self.architecture = architecture
        self.input_shape = input_shape
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.scale = scale
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.tol = tol
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
        """Fit network, steps and tables to the rows of X.

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
            range, rates that exclude each other, or a bound of 0 for a column of other
            numbers than whole ones.
        TypeError
            For sparse input.
        ImportError
            Without ``constriction``.
        """
        context = self._init_callback_context(max_subtasks=None)
        with all_or_nothing(self):
            X, weight = self._validate(X, sample_weight)
            with FitTasks(self, context, X, y, sample_weight):
                self._learn(X, weight, context)
        return self

    def _validate(self, X, sample_weight):
        if self.target_psnr is not None and self.bits_per_component is not None:
            raise ValueError(
                f"target_psnr={self.target_psnr!r} and bits_per_component="
                f"{self.bits_per_component!r} are two rates: set one of them to None."
            )
        X = self._check(X, reset=True)
        return X, checked_weight(sample_weight, X, min_rows=2)

    def _learn(self, X, weight, context):
        known = X if weight is None else X[weight > 0]
        residuals, rate = self._residuals(known), self._rate()
        # The same rows are held out each time.
        seed = random_generator(self.random_state).randint(2**31 - 1)

        def fitted(aim, share):
            autoencoder = self._autoencoder(known, aim, share, seed, **residuals)
            task = context.subcontext(task_name="autoencoder")
            with task.propagate_callback_context(autoencoder):
                return autoencoder.fit(X, sample_weight=weight)

        best, autoencoders = search(fitted, X, rate, residuals)
        last = autoencoders[-1]
        self.psnr_ = last.psnr_of(best.error)
        if best.falls_short:
            warnings.warn(
                f"target_psnr={rate.target_psnr:g} is not reached: decoded rows have "
                f"{self.psnr_:.1f} dB. Ask for less, give more components or more "
                "rows, or set error_bound.",
                ConvergenceWarning,
                stacklevel=5,
            )
        self._codec = fit_codec(best, last, X, residuals)
        self.bits_per_row_, self.step_ = best.bits, best.step
        self.n_iter_ = sum(autoencoder.n_iter_ for autoencoder in autoencoders)
        self.loss_curve_ = last.loss_curve_
        self.validation_curve_ = last.validation_curve_

    def _residuals(self, X):
        """What is needed to bound the error, if it is to be."""
        if self.error_bound is None:
            return {}
        names = getattr(self, "feature_names_in_", None)
        bound = bounds_of_columns(self.error_bound, names, X.shape[1])
        is_integer = np.full(X.shape[1], X.dtype.kind in "iu")
        if X.dtype.kind == "f":
            is_integer = (np.rint(X) == X).all(axis=0)
        # Refuses cells that can't be held to their bound before anything is trained.
        ResidualGrid(bound).place(X, is_integer)
        return {"error_bound": bound, "is_integer": is_integer}

    def _autoencoder(self, X, aim, share, seed, error_bound=None, is_integer=None):
        scale = self.scale
        if scale == "auto":
            scale = None if is_conv(self) or columns_look_like_pixels(X) else "minmax"
        autoencoder = RateDistortionAutoencoder(
            scale=scale, **{name: getattr(self, name) for name in _PASSED_ON}
        )
        max_iter = math.ceil(share * max_iterations(self))
        autoencoder.set_params(max_iter=max_iter, random_state=seed)
        autoencoder.rate = aim
        autoencoder.error_bound, autoencoder.is_integer = error_bound, is_integer
        return autoencoder

    def _rate(self):
        rate = Rate(self.n_components, self.target_psnr, self.bits_per_component)
        if rate.bits_per_component is not None and rate.n_components is None:
            return rate._replace(n_components=N_COMPONENTS)
        if not any(rate) and self.error_bound is None:
            return rate._replace(target_psnr=TARGET_PSNR)
        return rate

    # -- bytes -------------------------------------------------------------------

    def compress(self, X):
        """Encode the rows of X as bytes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units. Integers and floats of up to 64 bits come back in
            their dtype, booleans as uint8, all other numbers as float64.

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
        return self._codec.compress(self._check(X, reset=False))

    def decompress(self, stream):
        """Decode what ``compress`` made.

        Parameters
        ----------
        stream : bytes-like

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows in input units, in the dtype that is stored.

        Raises
        ------
        ValueError
            For a stream that is not whole, not as it was written, or was written by
            another model.
        """
        check_is_fitted(self, "_codec")
        return self._codec.decompress(stream)

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
        X = self._check(X, reset=False)
        values = self._codec.quantiser.values(self._codec.symbols(X))
        return values.astype(np.float32) if X.dtype == np.float32 else values

    def inverse_transform(self, X):
        """Decode codes, without what ``error_bound`` stores beside them.

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
        return self._codec.model

    @property
    def module_(self):
        """The fitted network, to be read: what is changed in it may not be noticed."""
        return self._inference.module

    @property
    def n_components_(self):
        """Size of the code."""
        return self.module_.n_components

    def _check(self, X, *, reset):
        """X in a dtype that a stream may have."""
        given = X
        X = validate_data(
            self, X, dtype="numeric", reset=reset, ensure_min_samples=2 if reset else 1
        )
        X = storable(X)
        if self.error_bound is not None and X.dtype == np.float64:
            refuse_rounded(X, given)
        return X
