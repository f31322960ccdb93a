"""What an autoencoder's training costs, beside a bare loop and other libraries."""

from functools import cache
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import torch
from joblib import cpu_count
from skorch import NeuralNetRegressor
from torch import nn
from torch.nn import functional as F

from benchmarks._measure import each, held_to, timed
from benchmarks._report import over
from benchmarks._rivals import MLPAutoencoder
from benchmarks._tables import curved_sheet
from sklearn_ae import AutoencoderTransformer

SHAPES = (20_000, 50), (2_000, 20), (100_000, 30), (5_000, 500)
SHAPES = {f"{n:,} x {d}": (n, d) for n, d in SHAPES}
QUICK = "2,000 x 20"
N_EPOCHS, N_ROUNDS = 10, 5
FLOOR, OURS, BARE = "matrix products", "ours", "bare torch"
MEASURED = ("seconds", "rows_s", "loss")
KEYS, HOW = ["shape", "threads", "method"], "median"
FIGURE, ROWS, LOWER_IS_BETTER = "seconds", KEYS[:2], True
HIDDEN, CODE = 64, 16
BATCH, RATE = 256, 1e-3


def _sizes(X):
    return list(pairwise((X.shape[1], HIDDEN, CODE, HIDDEN, X.shape[1])))


def _module(X, seed):
    """A fresh network; its initial weights are those of MLPRegressor's rule."""
    generator, layers = torch.Generator().manual_seed(seed), []
    for n_in, n_out in _sizes(X):
        layer = nn.Linear(n_in, n_out)
        nn.init.xavier_uniform_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
        layers.append(layer)
    first, code, back, last = layers
    return nn.Sequential(first, nn.ReLU(), code, back, nn.ReLU(), last)


def _apply(module):
    return lambda X: module(torch.from_numpy(X)).detach().numpy()


def _products(X, seed, n_epochs):
    """Only the matrix products of a step, forward and backward: the floor."""
    rng, sizes = np.random.default_rng(seed), _sizes(X)
    weights = [rng.normal(size=s).astype(np.float32) / 9 for s in sizes]
    gradients = [np.empty_like(w) for w in weights]
    outputs = [np.empty((BATCH, m), np.float32) for _, m in sizes]
    inputs = [np.empty((BATCH, m), np.float32) for m, _ in sizes]
    for start in range(0, n_epochs * len(X), BATCH):
        h = first = X[start % (len(X) - BATCH + 1) :][:BATCH]
        for w, out in zip(weights, outputs, strict=True):
            h = np.matmul(h, w, out=out)
        for i in reversed(range(len(weights))):
            np.matmul((outputs[i - 1] if i else first).T, h, out=gradients[i])
            if i:
                h = np.matmul(h, weights[i].T, out=inputs[i])


def _bare(X, seed, n_epochs):
    module, x = _module(X, seed), torch.from_numpy(X)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE, fused=True)
    for _ in range(n_epochs):
        for rows in torch.randperm(len(x), generator=generator).split(BATCH):
            batch = x[rows]
            optimizer.zero_grad()
            F.mse_loss(module(batch), batch).backward()
            optimizer.step()
    return _apply(module)


def _mlp_regressor(X, seed, n_epochs):
    params = {"batch_size": BATCH, "max_iter": n_epochs, "alpha": 0, "tol": 0}
    params |= {"hidden_layer_sizes": (HIDDEN, CODE, HIDDEN), "random_state": seed}
    return MLPAutoencoder(**params).fit(X).predict


def _skorch(X, seed, n_epochs):
    params = {"optimizer": torch.optim.Adam, "lr": RATE, "max_epochs": n_epochs}
    params |= {"iterator_train__shuffle": True, "train_split": None, "verbose": 0}
    net = NeuralNetRegressor(_module(X, seed), batch_size=BATCH, **params)
    return net.fit(X, X).predict


def _pyod(X, seed, n_epochs):
    from pyod.models.auto_encoder import AutoEncoder

    params = {"lr": RATE, "epoch_num": n_epochs, "batch_size": BATCH, "verbose": 0}
    params |= {"optimizer_params": {}, "batch_norm": False, "dropout_rate": 0}
    sizes = [HIDDEN, CODE]
    model = AutoEncoder(hidden_neuron_list=sizes, random_state=seed, **params).fit(X)
    return _apply(model.model.eval())


def _ours(X, seed, n_epochs):
    n_batches = -(-len(X) // BATCH)
    n_steps = n_epochs * n_batches
    # One cycle ends at zero: with this peak it gets as far as the constant rate.
    params = {"learning_rate_init": 3 * RATE, "batch_size": BATCH, "alpha": 0.0}
    params |= {"max_iter": round(n_steps / min(n_batches, 50)), "init": "random"}
    params |= {"n_iter_no_change": n_steps, "early_stopping": False, "scale": None}
    params |= {"hidden_layer_sizes": (HIDDEN,), "activation": "relu"}
    model = AutoencoderTransformer(CODE, random_state=seed, **params)
    return model.fit(X).reconstruct


LOOPS = {  # (rows, seed, number of epochs) -> function that reconstructs rows
    "matrix products": _products,
    "bare torch": _bare,
    "MLPRegressor": _mlp_regressor,
    "skorch": _skorch,
    "PyOD": _pyod,
    "ours": _ours,
}
if not find_spec("pyod"):
    del LOOPS["PyOD"]


def cases(options):
    """Every shape, number of threads, round and method."""
    return each(
        shape=[QUICK] if options.quick else SHAPES,
        threads=sorted({1, cpu_count()}),
        round=range(1 if options.quick else N_ROUNDS),
        method=LOOPS,
    )


@cache
def _burn_in(method):
    LOOPS[method](curved_sheet(1_000, 20), 0, 1)


def measure(shape, threads, round, method):
    """Train once; the loss on the training rows shows that it was the same training."""
    _burn_in(method)
    X = curved_sheet(*SHAPES[shape])
    with held_to(threads):
        seconds, reconstruct = timed(LOOPS[method], X, round, N_EPOCHS)
    loss = np.nan if reconstruct is None else np.square(reconstruct(X) - X).mean()
    return {"seconds": seconds, "rows_s": N_EPOCHS * len(X) / seconds, "loss": loss}


def derived(frame):
    """Ratios to the floor and to ours within a round; the loss over the bare loop's."""
    of = [*KEYS[:2], "round"]
    ratios = {f"/ {n}": over(frame, "seconds", n, of) for n in (FLOOR, OURS)}
    return frame.assign(**ratios, **{"loss / bare": over(frame, "loss", BARE, of)})
