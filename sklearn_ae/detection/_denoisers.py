"""Learning to tell outliers: networks and neighbours, and who judges by which."""

import numpy as np

from sklearn_ae.autoencoder._parameters import (
    batch_size,
    corruption_level,
    is_conv,
    max_batches,
    max_iterations,
)
from sklearn_ae.autoencoder._transformer import AutoencoderTransformer
from sklearn_ae.detection._evidence import DenoisingError, Noise
from sklearn_ae.tables._rows import systematic_sample

# Rows by which evidence is calibrated, at the most.
MAX_CALIBRATING = 5_000
# Of the hidden layers of an "mlp".
WIDTHS = (64, 64, 64)
# Optimisation steps: of a fit's only network; and of the first, and the second of two.
N_STEPS, N_STEPS_OF_TWO = 600, (175, 125)
BATCH_SIZE, LEARNING_RATE = 512, 0.008
# Components of a denoiser, which needs no bottleneck, at the most; of pictures up to
# this size all, which leaves the decoder linear.
MAX_COMPONENTS, MAX_CELLS_OF_PICTURE = 128, 1_024
# Levels of gaussian corruption, and of other kinds.
LEVELS, LEVEL = (0.05, 2.0), 0.2
# Weight decay: so much divided by the number of rows, within bounds.
DECAY, DECAYS = 30.0, (0.01, 1.0)
# Level of the noise that rows are restored from to be judged; higher for pictures,
# whose cells tell much of each other.
JUDGED_AT, PICTURES_JUDGED_AT = 0.1, 0.8
# Cells of the noise that a row is restored from: one draw for a row of few is luck. The
# draws are of random signs, so that no cell has next to none.
MIN_CELLS_OF_NOISE = 16


class Networks:
    """Trains autoencoders with a detector's parameters, one after another.

    Parameters
    ----------
    detector : AEOutlierDetector
    X : ndarray of shape (n, d)
        Distinct rows.
    weight : ndarray of shape (n,)
    seen : ndarray of shape (n,), bool
        Rows that are not held out: networks see no others.
    random : numpy.random.RandomState
    context : sklearn.callback.CallbackContext
        Of the detector's fit.
    """

    def __init__(self, detector, X, weight, is_train, random, context):
        self.detector, self.is_train = detector, is_train
        self.X, self.weight = X[is_train], weight[is_train]
        self.random, self.context = random, context
        self.fitted = []
        some = systematic_sample(self.weight, MAX_CALIBRATING)
        self._usual = np.median(self.X[some], axis=0)

    def error(self, scale, trusted, n_steps=N_STEPS):
        """The error of a new network that is trained on the trusted rows (n,)."""
        trusted = trusted[self.is_train]
        params = self._params(scale, np.sum(trusted), n_steps)
        network = AutoencoderTransformer(**params)
        task = self.context.subcontext(task_name="network")
        with task.propagate_callback_context(network):
            network._fit(self.X, sample_weight=self.weight, is_train=trusted)
        self.fitted.append(network)
        return DenoisingError(network._inference, self._noise(network), self._usual)

    def _params(self, scale, n_rows, n_steps):
        """Parameters of a network for so many rows to train on."""
        defaults = AutoencoderTransformer().get_params()
        params = self.detector.get_params(deep=False)
        params = {name: value for name, value in params.items() if name in defaults}
        if self.detector.method == "auto":
            gaussian = params["corruption"] == "gaussian"
            self_weight = {
                "corruption_level": LEVELS if gaussian else LEVEL,
                "alpha": float(np.clip(DECAY / n_rows, *DECAYS)),
                "batch_size": BATCH_SIZE,
                "learning_rate_init": LEARNING_RATE,
                "early_stopping": False,
            }
        else:
            n_iterations = max_iterations(self.detector)
            self_weight = defaults | {"early_stopping": True, "max_iter": n_iterations}
        if is_conv(self.detector):
            # The transformer's, which are by the architecture.
            del self_weight["batch_size"], self_weight["learning_rate_init"]
        else:
            self_weight["hidden_layer_sizes"] = WIDTHS
        for name, value in params.items():
            if isinstance(value, str) and value == "auto" and name in self_weight:
                params[name] = self_weight[name]
        if params["max_iter"] == "auto":
            n_batches = -(
                -n_rows // batch_size(AutoencoderTransformer(**params), n_rows)
            )
            params["max_iter"] = -(
                -n_steps // min(n_batches, max_batches(self.detector))
            )
        if params["n_components"] is None and params["corruption_level"] != 0:
            most = MAX_CELLS_OF_PICTURE if is_conv(self.detector) else MAX_COMPONENTS
            params["n_components"] = min(self.X.shape[1], most)
        if not params["early_stopping"]:
            params["n_iter_no_change"] = params["max_iter"]
        if any(network._net.was_interrupted for network in self.fitted):
            params["max_iter"] = 1
        seed = self.random.randint(2**31 - 1)
        return params | {"scale": scale, "random_state": seed}

    def _noise(self, network):
        """What a row is restored from, to be judged."""
        n_features = self.X.shape[1]
        n_draws = -(-MIN_CELLS_OF_NOISE // n_features)
        signs = np.random.RandomState(0).randint(2, size=(n_draws, n_features))
        # The opposite of each is drawn, too.
        signs[:, 0] = 1
        draws = 2.0 * np.unique(signs, axis=0) - 1
        level = corruption_level(network)
        denoises = (
            self.detector.method == "auto"
            and network.corruption == "gaussian"
            and network.latent == "deterministic"
            and level != 0
        )
        if not denoises:
            return Noise(0 * draws, 0.0)
        judged_at = PICTURES_JUDGED_AT if is_conv(network) else JUDGED_AT
        level = float(np.clip(judged_at, np.min(level), np.max(level)))
        spread = network._net.corruption.noise_std().cpu().numpy()
        return Noise(level * spread * draws, level)
