"""What denoising, sparse, contractive and variational codes are, by strength."""

from functools import lru_cache

import numpy as np
import torch

from benchmarks import _measure
from benchmarks._report import by, curves
from benchmarks._tables import tables
from sklearn_ae import AutoencoderTransformer

NOISE, SMALL, MAX_WIDE = 0.5, 0.1, 128
KNOBS = {  # name -> (parameters other than the strength's, its name, strengths)
    "gaussian": ({"corruption": "gaussian"}, "corruption_level", (0.25, 0.5, 1.0)),
    "masking": ({"corruption": "masking"}, "corruption_level", (0.1, 0.25, 0.5)),
    "swap": ({"corruption": "swap"}, "corruption_level", (0.1, 0.25, 0.5)),
    "kl": ({"sparsity": "kl"}, "sparsity_weight", (0.003, 0.01, 0.03)),
    "l1": ({"sparsity": "l1"}, "sparsity_weight", (0.1, 0.3, 1.0)),
    "contractive": ({}, "contraction_weight", (0.001, 0.01, 0.1)),
    "variational": ({"latent": "gaussian"}, "beta", (0.3, 1.0, 3.0)),
}
WIDE = ("kl", "l1")
MEASURED = ("k", "r2", "knn", "logistic", "ari", "noisy")
MEASURED += ("jacobian", "relative", "activity", "small")
KEYS = ["knob", "strength"]


def cases(options):
    """Every table with every knob, at 0 and at three strengths."""
    settings = [(k, s) for k, (*_, values) in KNOBS.items() for s in (0.0, *values)]
    return [
        {"table": table, "knob": knob, "strength": strength, "seed": seed}
        for table in tables(options)
        for seed in _measure.seeds(options)
        for knob, strength in settings
    ]


def measure(table, knob, strength, seed):
    """Fit one setting to one table and score it on the rows held out."""
    params, name, _ = KNOBS[knob]
    params = params | {name: strength} if strength else {}
    return _fit_and_score(table, knob in WIDE, tuple(params.items()), seed)


@lru_cache(maxsize=16)  # the knobs share their zero
def _fit_and_score(table, wide, params, seed):
    train, test, y_train, y_test = _measure.split(table, seed, keep_unit=True)
    scale = None if table.shape else "standard"
    k = min(MAX_WIDE, 2 * train.shape[1]) if wide else _measure.n_components(train)
    model = AutoencoderTransformer(k, scale=scale, random_state=seed, **dict(params))
    Z_train, Z_test = model.fit(train).transform(train), model.transform(test)
    scores = _measure.scores_on_code(Z_train, Z_test, y_train, y_test, seed)
    if scores:
        noise = np.random.default_rng(seed).normal(size=test.shape)
        noisy = model.transform(test + NOISE * train.std(axis=0) * noise)
        scores["noisy"] = _measure.logistic(Z_train, y_train).score(noisy, y_test)
    jacobian = _squared_jacobian(model, test)
    return scores | {
        "k": k,
        "r2": _measure.explained(test, model.inverse_transform(Z_test)),
        "jacobian": jacobian,
        "relative": jacobian / Z_test.var(axis=0).sum(),
        "activity": np.abs(Z_test).mean(),
        "small": (np.abs(Z_test) < SMALL).mean(),
    }


def _squared_jacobian(model, X, n_rows=200):
    """Mean squared Frobenius norm of the encoder's Jacobian at scaled rows."""
    jacobian = torch.func.vmap(torch.func.jacrev(model.module_.encoder))
    device = next(model.module_.parameters()).device
    x = torch.tensor(X[:n_rows], dtype=torch.float32, device=device)
    return jacobian(x).detach().square().sum(dim=(1, 2)).mean().item()


def plot(frame):
    """Draw explained variance and noisy accuracy by strength, a line a knob."""
    place = frame.groupby("knob")["strength"].rank("dense").sub(1)
    titles = {"r2": "variance explained", "noisy": "accuracy on noisy rows"}
    frame = frame.assign(strength=place)
    panels = {titles[f]: by(frame, f, "strength", "knob") for f in titles}
    return curves(panels, "strength (none, weak, medium, strong)")
