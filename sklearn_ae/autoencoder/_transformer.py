"""AutoencoderTransformer: nonlinear PCA, and the variants of the autoencoder."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from sklearn_ae._runtime import random_generator
from sklearn_ae._validation import refuse_size
from sklearn_ae.autoencoder._available_if import available_if
from sklearn_ae.autoencoder._base import _BaseAutoencoder
from sklearn_ae.autoencoder._inference import CodesMixin
from sklearn_ae.autoencoder._parameters import can_sample, corruption_level


def _check_corrupted(estimator):
    """AttributeError if rows were not corrupted in fit or, before it, will not be."""
    inference = getattr(estimator, "_inference", None)
    if inference is None:
        is_corrupted = corruption_level(estimator) != 0
    else:
        is_corrupted = inference.corruption is not None
    if not is_corrupted:
        raise AttributeError(
            f"This {type(estimator).__name__} has no attribute 'denoise': it has "
            "corruption_level=0, or was fitted so, and has learnt to remove no noise. "
            "Set corruption_level to the level of the noise, and call fit."
        )


def _check_samples(estimator):
    """AttributeError if the code has no distribution that rows are drawn from."""
    inference = getattr(estimator, "_inference", None)
    if inference is None:
        has_prior = can_sample(estimator)
    else:
        has_prior = inference.prior is not None
    if not has_prior:
        raise AttributeError(
            f"This {type(estimator).__name__} has no attribute 'sample': its code is "
            "deterministic and has no distribution to draw from, and codes drawn from "
            "another would be decoded into rows unlike the data. Set "
            "latent='gaussian', or prior='mixture', which fits one to the codes, and "
            "call fit."
        )


class AutoencoderTransformer(CodesMixin, _BaseAutoencoder):
    """Nonlinear dimensionality reduction by an autoencoder that starts at PCA.

    An encoder maps a row to a code and a decoder maps it back; training minimises the
    reconstruction error [1]_. By default each is a linear path, initialised by PCA,
    plus a nonlinear path that starts at zero. The weights with the lowest loss on
    held-out rows are kept, the initial ones among them: the result is never worse than
    PCA there. ``docs/guide.md`` has formulas, further rules and advice.

    Parameters
    ----------
    n_components : int, float in (0, 1) or None, default=None
        Size of the code. A float is the share of variance that as many components of
        PCA explain; None is 0.95. It may exceed n_features (an overcomplete code).
    architecture : {"mlp", "conv"} or callable, default="mlp"
        Nonlinear paths: perceptrons, or strided residual convolutions over rows of
        shape ``input_shape``. A callable ``(n_features, n_components) -> (encoder,
        decoder)`` returns two torch modules on flat rows; no BatchNorm.
    input_shape : tuple of int or None, default=None
        Shape of a row before flattening in C order, for "conv": (H, W), (C, H, W),
        (L,), (C, L) with C below 8, or (C, 1, L). None is (n_features,).
    hidden_layer_sizes : int, array-like of int or "auto", default="auto"
        Widths of the encoder's hidden layers, reversed in the decoder; "auto" is (128,
        128, 128). With "conv", channels of the stages, each of which halves the
        resolution; "auto" has 16 to 64, and stages until no side is 8 or more.
    activation : {"silu", "relu", "gelu", "tanh", "logistic", "identity"}, \
            default="silu"
        Activation of the hidden layers.
    init : {"pca", "random"}, default="pca"
        "pca" as above; "random" is the ordinary autoencoder: one path, random weights.
    scale : {"auto", "standard", "minmax", "quantile"} or None, default="auto"
        Scaling of the columns, inverted in the output: zero mean and unit variance;
        range [0, 1]; normal scores of the ranks; None centres the columns and divides
        all by one number. "auto" is None for "conv", "quantile" for a Gaussian latent,
        else "standard".
    loss : {"squared_error", "absolute_error", "huber"}, default="squared_error"
        Reconstruction loss, the mean over the scaled cells of a row.
    corruption : {"gaussian", "masking", "swap", "salt_and_pepper"} or callable, \
            default="gaussian"
        Corruption of the encoder's input in training (denoising [2]_): additive noise,
        or cells replaced by the column's mean, by another row's value, or by the
        column's minimum or maximum. A callable is ``(x, level, generator) -> x``, of
        scaled tensors of shape (n_rows, n_features) and a CPU ``torch.Generator``.
    corruption_level : float or (float, float), default=0.0
        Standard deviation of "gaussian" in units of the column's (of the root mean
        square of all columns', for "conv" or ``scale=None``), else the probability of a
        cell; 0 is none. With a pair, the range, each row draws a level log-uniformly;
        for "gaussian" the encoder is then noise-conditional, but for ``init="random"``,
        a callable ``architecture``, "kl" or a Gaussian latent.
    sparsity : {"kl", "l1"} or callable, default="kl"
        Penalty on the code: Kullback-Leibler divergence of each component's mean
        activation from ``sparsity_target`` [3]_, for a code that ends in a sigmoid;
        mean absolute code; or a function from (n_rows, n_components) to (n_rows,).
    sparsity_weight : float, default=0.0
        Weight of that penalty; 0 is none, and no sigmoid.
    sparsity_target : float, default=0.05
        Mean activation of a component that "kl" aims at.
    contraction_weight : float, default=0.0
        Weight of the squared Frobenius norm of the encoder's Jacobian [4]_; 0 is none.
    latent : {"deterministic", "gaussian"}, default="deterministic"
        "gaussian" is the variational autoencoder [5]_: a diagonal Gaussian posterior,
        the negative ELBO in nats as the loss. ``transform`` returns the mean. It
        excludes ``sparsity="kl"`` and other losses than the squared error.
    beta : float, default=1.0
        Weight of the ELBO's divergence from the prior.
    prior : {"auto", "normal", "mixture"}, default="auto"
        Distribution of codes for ``sample``: standard normal (a Gaussian latent only),
        or a Gaussian mixture fitted to the codes after training. "auto" is "mixture"
        for a Gaussian latent; else there is none, and no ``sample``.
    alpha : float, default=0.01
        Weight decay (decoupled, AdamW).
    batch_size : int or "auto", default="auto"
        Rows in a mini-batch. "auto" is about an eighth of the rows, a power of two
        between 16 and 256 (64 for "conv").
    learning_rate_init : float or "auto", default="auto"
        Peak of the one-cycle learning rate. "auto" is 0.01 (0.003 for "conv") times
        ``min(1, sqrt(batch_size / 64))``; in ``partial_fit`` a tenth, and constant.
    max_iter : int or "auto", default="auto"
        Iterations, each a pass over the rows or 50 mini-batches (25 for "conv") if that
        is less. "auto" is 200 (80 for "conv").
    tol : float, default=1e-4
        Smallest improvement of the monitored loss that counts, relative to it.
    early_stopping : bool, default=True
        If True, monitor the loss of held-out rows; if False, of training rows.
    validation_fraction : float, default=0.1
        Share of the rows to hold out; at least 50 (a quarter of few), at most 5,000.
    n_iter_no_change : int, default=40
        Iterations without an improvement after which training stops.
    shuffle : bool, default=True
        If True, shuffle the rows in each iteration.
    warm_start : bool, default=False
        If True, ``fit`` continues from the fitted weights and scaling, and keeps the
        optimiser's moments for that: the estimator and pickles of it are three times as
        large.
    device : str, default="auto"
        A torch device. "auto" is "cuda" if there is a GPU, else "cpu".
    random_state : int, RandomState instance or None, default=None
        An int makes ``fit`` repeatable to the bit (for a given number of threads).
    verbose : int, default=0
        Above 0, print a line for each iteration.
    net_params : dict or None, default=None
        Further parameters of the skorch ``NeuralNet``, such as ``{"callbacks": [...]}``
        or ``{"optimizer__betas": (0.9, 0.95)}``. Not read by a warm start.

    Attributes
    ----------
    n_components_ : int
        Size of the code.
    module_ : torch.nn.Module
        Fitted network on scaled rows, in float32, with ``encoder`` and ``decoder``.
    n_iter_ : int
        Iterations run.
    loss_curve_ : list of float
        Mean training loss of each iteration.
    validation_curve_ : list of float
        Monitored loss of the averaged weights, at the start and after each iteration.
    best_loss_ : float
        Monitored loss of the weights kept; NaN after ``partial_fit``.
    n_active_components_ : int
        Components whose mean has a variance above 0.01; for a Gaussian latent only.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if all are strings.

    See Also
    --------
    sklearn.decomposition.PCA : Linear dimensionality reduction.

    Notes
    -----
    Equal rows are merged and their weights summed: the order of rows does not matter.
    The weights kept are an exponential moving average. With corruption or a penalty
    they are chosen by the whole training loss, and may reconstruct worse than PCA.

    References
    ----------
    .. [1] G. E. Hinton, R. R. Salakhutdinov. Science 313, 504-507, 2006.
    .. [2] P. Vincent et al. Stacked denoising autoencoders. JMLR 11, 2010.
    .. [3] A. Ng. Sparse autoencoder. CS294A lecture notes, Stanford, 2011.
    .. [4] S. Rifai et al. Contractive auto-encoders. ICML 2011.
    .. [5] D. P. Kingma, M. Welling. Auto-encoding variational Bayes. ICLR 2014.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_ae import AutoencoderTransformer
    >>> X, _ = load_digits(return_X_y=True)
    >>> ae = AutoencoderTransformer(n_components=8, max_iter=5, random_state=0).fit(X)
    >>> ae.transform(X).shape
    (1797, 8)
    """

    def __init__(
        self,
        n_components=None,
        *,
        architecture="mlp",
        input_shape=None,
        hidden_layer_sizes="auto",
        activation="silu",
        init="pca",
        scale="auto",
        loss="squared_error",
        corruption="gaussian",
        corruption_level=0.0,
        sparsity="kl",
        sparsity_weight=0.0,
        sparsity_target=0.05,
        contraction_weight=0.0,
        latent="deterministic",
        beta=1.0,
        prior="auto",
        alpha=0.01,
        batch_size="auto",
        learning_rate_init="auto",
        max_iter="auto",
        tol=1e-4,
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=40,
        shuffle=True,
        warm_start=False,
        device="auto",
        random_state=None,
        verbose=0,
        net_params=None,
    ):
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
        self.prior = prior
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.net_params = net_params

    def transform(self, X):
        """Encode the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_components_), or as ``set_output`` says
            Codes; float32 if X is, else float64.
        """
        X = self._check(X)
        return self._inference.encode(X)

    def inverse_transform(self, X):
        """Decode codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components_)
            Codes.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features_in_)
            Rows in input units; float32 if X is, else float64.
        """
        check_is_fitted(self, "module_")
        return self._inference.decode(self._checked_code(X))

    def reconstruct(self, X):
        """Encode and decode the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        X_reconstructed : ndarray of shape (n_samples, n_features)
            Rows in input units; float32 if X is, else float64.
        """
        X = self._check(X)
        return self._inference.reconstruct(X)

    @available_if(_check_corrupted)
    def denoise(self, X, *, level=None):
        """Remove noise from the rows of X.

        The same as ``reconstruct``, but for ``level``. Available only if the training
        rows were corrupted: ``corruption_level`` above 0.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Noisy rows in input units.
        level : float, default=None
            Level of the noise, in units of ``corruption_level``. Required by a
            noise-conditional encoder, and refused by any other.

        Returns
        -------
        X_denoised : ndarray of shape (n_samples, n_features)
            Rows in input units; float32 if X is, else float64.

        Raises
        ------
        ValueError
            If ``level`` is missing, not needed or outside of ``corruption_level``.
        """
        X = self._check(X)
        if not self.module_.is_noise_conditional:
            if level is not None:
                raise ValueError(
                    f"level={level!r} is not used: this encoder is not conditional on "
                    "the noise level. Leave it out. Noise-conditional encoders have "
                    "two levels of gaussian corruption, init='pca', a deterministic "
                    "code and no architecture of your own."
                )
            return self._inference.reconstruct(X)
        low, high = self._inference.corruption.level
        is_number = isinstance(level, Real) and not isinstance(level, bool)
        if not is_number or not low <= level <= high:
            raise ValueError(
                f"level must be a number between {low} and {high}, the range of "
                f"corruption_level: the level of the noise on X. Got {level!r}."
            )
        return self._inference.reconstruct(X, float(level))

    @available_if(_check_samples)
    def sample(self, n_samples=1, *, noise=True, random_state=None):
        """Draw rows: a code is drawn from ``prior`` and decoded.

        Noise is added to each column, and the value of the same rank in the training
        column is returned: columns keep their distributions, and the network gives the
        dependence between them. The training column is that of the latest ``fit``, or
        of the first ``partial_fit``. Up to 128 distinct values are drawn exactly; of
        more, others may lie between them. Available only if the code has a
        distribution: ``latent="gaussian"`` or ``prior="mixture"``.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        noise : bool, default=True
            The noise is normal, its variance the mean squared residual of the scaled
            column in training. If False, return the decoder's means: columns vary too
            little, and have other values than in training.
        random_state : int, RandomState instance or None, default=None
            An int gives the same rows at each call; None draws fresh entropy from the
            operating system.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features_in_)
            Rows in input units, float64.
        """
        check_is_fitted(self, "module_")
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        check_scalar(noise, "noise", (bool, np.bool_))
        # Codes, scaled rows and rows, in float64.
        n_numbers = n_samples * (self.n_components_ + 2 * self.n_features_in_)
        refuse_size(8 * n_numbers, f"Drawing n_samples={n_samples} rows")
        random = random_generator(random_state)
        return self._inference.sample(n_samples, random, noise=noise)
