"""Learning to tell outliers: networks and neighbours, and who judges by which."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from sklearn_ae._columns import Columns
from sklearn_ae._data import float32_hash, systematic_sample
from sklearn_ae._evidence import (
    Distance,
    Error,
    Explanation,
    Fusion,
    Noise,
    Plain,
    WideDistance,
    calibrated,
)
from sklearn_ae._neighbors import BLOCK, Neighbors, Rows
from sklearn_ae._parameters import (
    batch_size,
    corruption_level,
    is_conv,
    max_batches,
    max_iterations,
)
from sklearn_ae._suspicion import lowest, suspicion
from sklearn_ae._torch_state import few_threads
from sklearn_ae._transformer import AutoencoderTransformer

# Cells that are judged at once by a thread, at the most.
MAX_CELLS = 2**20
# Rows by which evidence is calibrated, at the most.
MAX_CALIBRATING = 5_000
# Share of the weight that networks train on where some rows may be outliers; a tenth of
# the distinct rows at the least, and ten.
TRUSTED, MIN_TRUSTED_SHARE, MIN_TRUSTED = 0.4, 0.1, 10
# Fewer of them for each column teach too little to judge the others by them alone.
MIN_TRUSTED_PER_COLUMN = 8
# Weight, among the evidence of trusted rows, of the training rows nearest to one of
# them: outliers have others like them, but one that stands alone is one.
ALONE = 0.1
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
SCALINGS = ("standard", "minmax", "quantile")


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

    def __init__(self, detector, X, weight, seen, random, context):
        self.detector, self.seen = detector, seen
        self.X, self.weight = X[seen], weight[seen]
        self.random, self.context = random, context
        self.fitted = []
        some = systematic_sample(self.weight, MAX_CALIBRATING)
        self._usual = np.median(self.X[some], axis=0)

    def error(self, scale, trusted, n_steps=N_STEPS):
        """The error of a new network that is trained on the trusted rows (n,)."""
        trusted = trusted[self.seen]
        params = self._params(scale, np.sum(trusted), n_steps)
        network = AutoencoderTransformer(**params)
        task = self.context.subcontext(task_name="network")
        with task.propagate_callback_context(network):
            network._fit(self.X, sample_weight=self.weight, trusted=trusted)
        self.fitted.append(network)
        return Error(network._codec, self._noise(network), self._usual)

    def _params(self, scale, n_rows, n_steps):
        """Parameters of a network for so many rows to train on."""
        defaults = AutoencoderTransformer().get_params()
        params = self.detector.get_params(deep=False)
        params = {name: value for name, value in params.items() if name in defaults}
        if self.detector.method == "auto":
            gaussian = params["corruption"] == "gaussian"
            own = {
                "corruption_level": LEVELS if gaussian else LEVEL,
                "alpha": float(np.clip(DECAY / n_rows, *DECAYS)),
                "batch_size": BATCH_SIZE,
                "learning_rate_init": LEARNING_RATE,
                "early_stopping": False,
            }
        else:
            n_iterations = max_iterations(self.detector)
            own = defaults | {"early_stopping": True, "max_iter": n_iterations}
        if is_conv(self.detector):
            # The transformer's, which are by the architecture.
            del own["batch_size"], own["learning_rate_init"]
        else:
            own["hidden_layer_sizes"] = WIDTHS
        for name, value in params.items():
            if isinstance(value, str) and value == "auto" and name in own:
                params[name] = own[name]
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
        spread = network._net.corruption.columns.spread.cpu().numpy()
        return Noise(level * spread * draws, level)


class Judges:
    """Who judges new rows, and who judges those of training, in bounded memory.

    Parameters
    ----------
    new, known : Fusion or Plain
    X : ndarray of shape (n, d)
        Training rows.
    """

    def __init__(self, new, known, X):
        self.new, self.known = new, known
        self._hashes = np.sort(float32_hash(X))

    def scores(self, X):
        """Scores (n,) of rows (n, d), each by its judge."""
        return _scores(X, self._parts(X))

    def scores_of_new(self, X, known=False, own=0.0):
        """Scores (n,) of rows as new ones, even if known.

        A known row is not its own neighbour, nor one of those by whose evidence its own
        is judged, with the weight ``own`` (n,) among them.
        """
        parts = ((self.new, block, known) for block in _blocks(*X.shape))
        return _scores(X, parts, own)

    def explain(self, X):
        """Explanation of ``scores``."""
        contributions, expected = np.empty_like(X), np.empty_like(X)
        for judge, rows, known in self._parts(X):
            with _far():
                explanation = judge.explain(Rows(X[rows], known))
            contributions[rows], expected[rows] = explanation
        return Explanation(contributions, expected)

    def _parts(self, X):
        hashes = float32_hash(X)
        place = np.searchsorted(self._hashes, hashes)
        known = self._hashes[np.minimum(place, len(self._hashes) - 1)] == hashes
        for judge, mine in ((self.known, known), (self.new, ~known)):
            rows = np.flatnonzero(mine)
            for block in _blocks(len(rows), X.shape[1]):
                yield judge, rows[block], mine is known


def _blocks(n_rows, n_features):
    size = min(BLOCK, max(1, MAX_CELLS // n_features))
    return (slice(i, i + size) for i in range(0, n_rows, size))


def _scores(X, parts, own=0.0):
    """Scores (n,) by (judge, rows, known), by as many threads as torch has."""
    own = np.broadcast_to(own, len(X))
    scores, n_threads = np.empty(len(X)), torch.get_num_threads()

    def score(part):
        judge, rows, known = part
        with _far():
            scores[rows] = judge.scores(Rows(X[rows], known, own[rows]))

    with few_threads(), ThreadPoolExecutor(n_threads) as pool:
        for _ in pool.map(score, parts):
            pass
    return scores


def _far():
    """Without warnings: what is past float64 on its way to a score counts as far."""
    return np.errstate(over="ignore", invalid="ignore")


def plain_judges(detector, X, weight, networks):
    """One judge for all rows: the textbook's network, by its own loss."""
    judge = Plain(networks.error(detector.scale, networks.seen))
    return Judges(judge, judge, X)


def fused_judges(detector, X, weight, networks):
    """Who judges new rows, and who judges those of training."""
    scalings = (detector.scale,)
    if detector.scale == "auto":
        # Cells of a picture keep the unit that they share.
        scalings = (None,) if is_conv(detector) else SCALINGS
    # Rows held out have no say in the scaling, as new ones have none: p-values.
    seen = networks.seen
    columns = [Columns(scaling).fit(X[seen], weight[seen]) for scaling in scalings]
    clean = detector.contamination == 0
    near = [Neighbors(c, X, weight) for c in columns]
    some, some_weight = Rows(X[:MAX_CALIBRATING], True), weight[:MAX_CALIBRATING]
    distances = [calibrated(Distance(n), some, some_weight) for n in near]
    unseen = ~seen if not seen.all() else seen
    n_steps = (N_STEPS,) if clean else N_STEPS_OF_TWO
    error = networks.error(scalings[0], seen, n_steps[0])
    whole = calibrated(error, Rows(X[unseen], True), weight[unseen])
    if clean:
        judge = Fusion([*distances, whole], typical=near[-1])
        return Judges(judge, judge, X)
    doubt = suspicion(X, weight, near, columns[0].transform(X))
    trusted = seen.copy()
    least = max(MIN_TRUSTED, int(MIN_TRUSTED_SHARE * trusted.sum()))
    trusted[trusted] = lowest(doubt[trusted], weight[trusted], TRUSTED, least)
    typical = Neighbors(columns[-1], X[trusted], weight[trusted])
    evidence = [networks.error(scalings[0], trusted, n_steps[1]), WideDistance(typical)]
    apart = [calibrated(e, some, some_weight) for e in evidence]
    judge = Fusion([*distances, whole, *apart], typical)
    if trusted.sum() < MIN_TRUSTED_PER_COLUMN * X.shape[1]:
        return Judges(judge, judge, X)
    return Judges(judge, Fusion([*apart, distances[-1]], typical, (1, 1, ALONE)), X)
