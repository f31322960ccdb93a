"""The autoencoder as a transformer: where PCA stood."""

from numbers import Real

from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_ae.autoencoder._base import _BaseAutoencoder
from sklearn_ae.autoencoder._inference import CodesMixin
from sklearn_ae.autoencoder._parameters import corruption_level
from sklearn_ae.autoencoder._sampling import SamplingMixin


def _was_corrupted(estimator):
    """Whether rows were corrupted in fit; before it, whether they will be."""
    net = getattr(estimator, "_net", None)
    if corruption_level(estimator) != 0 if net is None else net.corruption is not None:
        return True
    raise AttributeError(
        f"This {type(estimator).__name__} has no attribute 'denoise': it has "
        "corruption_level=0, or was fitted so, and takes no noise off. Set "
        "corruption_level to what is on the rows, and call fit."
    )


class AutoencoderTransformer(SamplingMixin, CodesMixin, _BaseAutoencoder):
    """Nonlinear dimensionality reduction by an autoencoder that starts at PCA.

    An encoder E maps a row to a code of ``n_components`` numbers and a decoder D maps
    it back; both are trained to make D(E(x)) close to x [1]_. By default each is a
    linear path, set to PCA's solution, plus a nonlinear path that starts at zero:
    training starts *at* PCA, and since the best weights on held-out rows are kept, the
    start among them, the result is never worse than PCA there.

    Parameters
    ----------
    n_components : int, float in (0, 1) or None, default=None
        Size of the code. A float is the share of the variance that as many components
        of PCA explain; None is 0.95. It may exceed n_features (an overcomplete code).
    architecture : {"mlp", "conv"} or callable, default="mlp"
        Of the nonlinear paths. "mlp" is a multilayer perceptron. "conv" takes rows for
        pictures of ``input_shape``: strided residual convolutions [13]_ down to the
        code, transposed ones back. Where ``n_components`` is n_features the encoder,
        which then is a filter, keeps each resolution for the way back [14]_, and the
        decoder is linear. A callable ``(n_features, n_components) -> (encoder,
        decoder)`` returns two torch modules on flat rows; with ``init="pca"`` they are
        paths beside the linear ones, times a number for each output that starts at zero
        [15]_. A normal latent asks it for an encoder of 2 n_components. Parts with
        running statistics, as BatchNorm, are refused.
    input_shape : tuple of int or None, default=None
        What a row was flattened from, in C order: (H, W) or (C, H, W) of an image, (L,)
        or (C, L) of a signal. Two numbers are (C, L) if the first is below 8; (C, 1, L)
        is a signal of any number of channels. None is (n_features,). Other networks
        than "conv" do not use it.
    hidden_layer_sizes : int, array-like of int or "auto", default="auto"
        Widths of the encoder's hidden layers; the decoder has them in reverse. "auto"
        is (128, 128, 128). With ``architecture="conv"`` the channels of its stages,
        each at half of the resolution of the one before; "auto" goes down until no side
        is 8 or more, by 16 to 64 channels: those of MNIST are (16, 32). Not used by a
        callable.
    activation : {"silu", "relu", "gelu", "tanh", "logistic", "identity"}, \
            default="silu"
        Activation of the hidden layers.
    init : {"pca", "random"}, default="pca"
        "pca" starts at PCA, as above. "random" is the ordinary autoencoder: one path,
        random weights.
    scale : {"auto", "standard", "minmax", "quantile"} or None, default="auto"
        Scaling of the columns, undone on the way out: mean 0 and variance 1; range
        [0, 1]; normal scores of the ranks; or none, where each column keeps its share
        of the variance, as in PCA. "auto" is None with ``architecture="conv"``, as the
        cells of a picture share a unit; else "standard", and with ``latent="gaussian"``
        "quantile": its likelihood is normal, and columns seldom are. In normal scores a
        small step off a frequent value is a large one: of such columns, codes of noisy
        rows are steadier with another scale.
    loss : {"squared_error", "absolute_error", "huber"}, default="squared_error"
        Reconstruction loss of a scaled cell.
    corruption : {"gaussian", "masking", "swap", "salt_and_pepper"} or callable, \
            default="gaussian"
        How rows are corrupted in training, to be restored: the denoising autoencoder
        [4]_. "gaussian" adds noise; "masking" sets cells to their column's mean, "swap"
        to its value in another row of the mini-batch, "salt_and_pepper" to its minimum
        or maximum. A callable is ``(x, level, generator) -> x`` with tensors of shape
        (n_rows, n_features) of scaled cells; the ``torch.Generator`` is on the CPU.
    corruption_level : float or (float, float), default=0.0
        Of "gaussian" the noise's standard deviation, in units of the column's own (with
        ``architecture="conv"`` or ``scale=None`` of the root mean square of all
        columns'); else
        the probability that a cell is corrupted. At 0 there is none. Scores, codes and
        reconstructions are of the rows as they are.
        Of two levels, the lowest above 0 and the highest, each row of a mini-batch
        draws its own, log-uniformly. Of "gaussian" with ``init="pca"`` and a code that
        is neither squashed nor a distribution, the encoder is told the level and starts
        at the linear answer to each, Wiener's filter in PCA's basis, and each level's
        errors count as much [12]_; the rows as they are then have the lowest level.
    sparsity : {"kl", "l1"} or callable, default="kl"
        Penalty on the code. "kl" is the Kullback-Leibler divergence of each component's
        mean activity from ``sparsity_target``, summed over the components; the code
        then ends in a sigmoid [5]_. "l1" is the mean absolute code. A callable takes
        the code, a tensor of shape (n_rows, n_components), and returns shape (n_rows,).
        The decoder's weights are its own: much of what "l1" gains is a smaller code.
    sparsity_weight : float, default=0.0
        Weight of that penalty; at 0 there is none, and no sigmoid. A weight is beside
        the mean loss of a cell, and with ``latent="gaussian"`` beside nats a row.
    sparsity_target : float, default=0.05
        Mean activity that "kl" asks of each component.
    contraction_weight : float, default=0.0
        Weight of the squared Frobenius norm of the encoder's Jacobian at the rows as
        the encoder gets them, in scaled units: the contractive autoencoder [6]_. At 0
        there is none. Beyond a small weight most of what is gained is that the code
        gets smaller, as with "l1".
    latent : {"deterministic", "gaussian"}, default="deterministic"
        "gaussian" is the variational autoencoder [7]_: the code is a normal
        distribution with independent components, the loss the negative evidence lower
        bound in nats, its normal likelihood's variance the best there is [8]_.
        ``transform`` gives the mean, ``sample`` new rows. It excludes
        ``sparsity="kl"``, which needs a code between 0 and 1, and all but the squared
        error as ``loss``.
    beta : float, default=1.0
        Weight of the divergence from the standard normal prior in that bound. At 10 few
        components, or none, are worth their divergence.
    prior : {"auto", "normal", "mixture"}, default="auto"
        What ``sample`` draws codes from. "normal" is the standard normal that
        ``latent="gaussian"`` holds them to in training. "mixture" is fitted to the
        codes by ``fit``, after training: of the standard normal and mixtures of 1, 2,
        4, ... 32 normals the likeliest for codes held out [11]_. A deterministic code
        can be given one, too; in place of the standard normal it has one of the codes'
        own means and variances. ``partial_fit`` leaves it as it is, and alone fits
        none: then, as for callbacks during a fit, there is the standard normal, or for
        a deterministic code nothing.
        "auto" is "mixture" with ``latent="gaussian"``, else there is none and no
        ``sample``.
    alpha : float, default=0.01
        Weight decay (decoupled, AdamW [2]_).
    batch_size : int or "auto", default="auto"
        Rows in a mini-batch. "auto" is about an eighth of the rows, a power of two
        between 16 and 256 (64 with ``architecture="conv"``).
    learning_rate_init : float or "auto", default="auto"
        Peak of the learning rate, which rises over the first tenth of the budget and
        then falls to zero along a cosine. "auto" is 0.01 (0.003 with
        ``architecture="conv"``) for mini-batches of 64 or more, and below in proportion
        to the square root of their size (Adam's scaling rule [3]_); in ``partial_fit``,
        where it is constant, a tenth of that.
    max_iter : int or "auto", default="auto"
        Iterations: "auto" is 200, and 80 with ``architecture="conv"``. One is a pass
        over the rows, or 50 (25) mini-batches of a longer pass: the cost of a fit stops
        growing with the number of rows.
    tol : float, default=1e-4
        Smallest gain on the monitored rows that counts, as a share of their loss.
    early_stopping : bool, default=True
        Whether to hold rows out to monitor training by. False monitors the loss on
        training rows (a tenth of them, but 1,000 to 5,000).
    validation_fraction : float, default=0.1
        Share of the rows to hold out: 5,000 at the most, and at the least 50 or a
        quarter of a small table.
    n_iter_no_change : int, default=40
        Iterations without a gain after which training stops.
    shuffle : bool, default=True
        Whether each pass has an order of its own.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the fitted weights; scaling stays as it was.
    device : str, default="auto"
        A torch device. "auto" is "cuda" where there is a GPU, else "cpu".
    random_state : int, RandomState instance or None, default=None
        An int gives the same weights, bit for bit, at each fit; where layers are so
        large that they take several threads, with the same number of them. None draws
        a fresh seed from the operating system; numpy's and torch's global generators
        are not used.
    verbose : int, default=0
        Above 0, a line for each iteration.
    net_params : dict or None, default=None
        Further parameters of the skorch ``NeuralNet`` that trains the network, such as
        ``{"callbacks": [...]}`` or ``{"optimizer__betas": (0.9, 0.95)}``. Another
        ``optimizer`` has to take ``weight_decay`` and step without a closure, and
        needs a ``learning_rate_init`` and an ``alpha`` of its own: theirs are tuned
        for AdamW. Read when training starts anew, not by a warm start.

    Attributes
    ----------
    n_components_ : int
        Size of the code.
    module_ : torch.nn.Module
        The fitted network in float32, from scaled rows to scaled rows, with its
        ``encoder`` and ``decoder``.
    n_iter_ : int
        Iterations run.
    loss_curve_ : list of float
        Mean training loss of each iteration.
    validation_curve_ : list of float
        Loss on the monitored rows, at the start and after each iteration.
    n_active_components_ : int
        Components whose mean varies by more than 0.01 over the training rows; with
        ``latent="gaussian"`` only.
    best_loss_ : float
        Loss of the weights that were kept, on the monitored rows; NaN after
        ``partial_fit``, which monitors none.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where X had names that are all strings.

    See Also
    --------
    sklearn.decomposition.PCA : The linear autoencoder.

    Notes
    -----
    Equal rows are merged, their weights summed, before training: the result depends
    neither on the order of the rows nor on whether one is repeated or weighted.

    With corruption or a penalty, what is compared, and told by ``loss_curve_``,
    ``validation_curve_`` and ``best_loss_``, is the whole of what is trained for, on
    held-out rows with the same corruption each time; on the rows as they are, such a
    model may be worse than PCA. A sigmoid code starts near PCA rather than at it: a
    component t becomes ``sigmoid(t / (2 s))``, s its standard deviation, which the
    decoder's linear path takes for straight. A normal latent starts at probabilistic
    PCA, where the bound is the exact likelihood [9]_. "kl" uses the means of a
    mini-batch: it should not be of a few rows.

    The weights that are judged after an iteration, and kept, are their average over
    about the latest tenth of the steps (Polyak averaging [10]_); ``loss_curve_`` is of
    those that were trained.

    With ``init="pca"`` trained weights replace those of the start only if their gain
    on the held-out rows exceeds its standard error, and their mean loss there is no
    higher. Scaling and PCA are fitted on all rows, those held out included. A row that
    holds more than a tenth of a column's variance is held out only where there are not
    enough others, and no row whose loss at the start is far above the others' counts
    for much more than they do in choosing: ``best_loss_`` need not be the least of
    ``validation_curve_``. Of fewer than four rows none is held out.

    References
    ----------
    .. [1] G. E. Hinton and R. R. Salakhutdinov. Reducing the dimensionality of data
       with neural networks. Science 313, 2006.
    .. [2] I. Loshchilov and F. Hutter. Decoupled weight decay regularization. ICLR
       2019.
    .. [3] S. Malladi et al. On the SDEs and scaling rules for adaptive gradient
       algorithms. NeurIPS 2022.
    .. [4] P. Vincent et al. Stacked denoising autoencoders. Journal of Machine Learning
       Research 11, 2010.
    .. [5] A. Ng. Sparse autoencoder. CS294A lecture notes, Stanford University, 2011.
    .. [6] S. Rifai et al. Contractive auto-encoders: explicit invariance during feature
       extraction. ICML 2011.
    .. [7] D. P. Kingma and M. Welling. Auto-encoding variational Bayes. ICLR 2014.
    .. [8] O. Rybkin, K. Daniilidis and S. Levine. Simple and effective VAE training
       with calibrated decoders. ICML 2021.
    .. [9] M. E. Tipping and C. M. Bishop. Probabilistic principal component analysis.
       Journal of the Royal Statistical Society B 61, 1999.
    .. [10] T. Karras et al. Analyzing and improving the training dynamics of diffusion
       models. CVPR 2024.
    .. [11] P. Ghosh et al. From variational to deterministic autoencoders. ICLR 2020.
    .. [12] T. Karras et al. Elucidating the design space of diffusion-based generative
       models. NeurIPS 2022.
    .. [13] K. He et al. Identity mappings in deep residual networks. ECCV 2016.
    .. [14] O. Ronneberger, P. Fischer and T. Brox. U-Net: convolutional networks for
       biomedical image segmentation. MICCAI 2015.
    .. [15] T. Bachlechner et al. ReZero is all you need: fast convergence at large
       depth. UAI 2021.

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
            Codes: float32 for float32, else float64.
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
            Rows in input units: float32 for float32, else float64.
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
            Rows in input units: float32 for float32, else float64.
        """
        X = self._check(X)
        return self._inference.reconstruct(X)

    @available_if(_was_corrupted)
    def denoise(self, X, *, level=None):
        """Take the noise off rows, as learnt from corruption of clean ones.

        It is ``reconstruct``, and there only where the training rows were corrupted:
        ``corruption_level`` above 0.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Noisy rows in input units.
        level : float, default=None
            Of the noise, in units of ``corruption_level``: needed where that is two
            levels that the encoder is told of, and only there.

        Returns
        -------
        X_denoised : ndarray of shape (n_samples, n_features)
            Rows in input units: float32 for float32, else float64.

        Raises
        ------
        ValueError
            For a level that is missing, not needed, or outside of ``corruption_level``.
        """
        X = self._check(X)
        if not self.module_.is_noise_conditional:
            if level is not None:
                raise ValueError(
                    f"level={level!r} is of no use: this encoder is not told levels. "
                    "Leave it out. Encoders are told them with two levels of gaussian "
                    "corruption, init='pca', a deterministic code and no network of "
                    "your own."
                )
            return self._inference.reconstruct(X)
        low, high = self._net.corruption.level
        is_number = isinstance(level, Real) and not isinstance(level, bool)
        if not is_number or not low <= level <= high:
            raise ValueError(
                f"level must be a number between {low} and {high}, the range of "
                f"corruption_level, and say how much noise is on X, got {level!r}."
            )
        return self._inference.reconstruct(X, float(level))
