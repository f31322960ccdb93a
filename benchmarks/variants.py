"""What denoising, sparse, contractive and variational codes are, by strength.

Each knob at 0 and at three strengths. The sparse codes have twice as many components
as columns (128 at the most); the others a quarter, as in ``pca``. Tables are
standardised, but for digits, whose columns are pixels and keep their unit.
"""

from functools import lru_cache

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.metrics import r2_score

from benchmarks._judge import logistic, n_components, on_code, split
from benchmarks._report import number
from benchmarks._tables import load_tables
from sklearn_ae import AutoencoderTransformer

NOISE = 0.5  # of a column's standard deviations, added to rows that are classified
SMALL = 0.1  # an entry of the code below this is as good as off
MAX_WIDE = 128

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
FORMATS = {
    **dict.fromkeys(("table", "knob"), str),
    "strength": "{:g}".format,
    **dict.fromkeys(("seed", "k"), "{:.0f}".format),
    "r2": "{:.4f}".format,
    **dict.fromkeys(("knn", "logistic", "noisy"), number),
    **dict.fromkeys(("jacobian", "relative", "activity", "small"), number),
}


def cases(options):
    """Every table with every knob, at 0 and at three strengths."""
    return [
        {"table": table, "knob": knob, "strength": strength, "seed": seed}
        for table in load_tables(options)
        for seed in range(options.seed, options.seed + options.seeds)
        for knob, (_, _, strengths) in KNOBS.items()
        for strength in (0, *strengths)
    ]


def measure(table, knob, strength, seed):
    """Fit one setting to one table and judge it on the rows held out."""
    params, name, _ = KNOBS[knob]
    params = params | {name: strength} if strength else {}
    return _measure(table, knob in WIDE, tuple(params.items()), seed)


@lru_cache(maxsize=16)  # the knobs share their zero
def _measure(table, wide, params, seed):
    train, test, y_train, y_test = split(table, seed, keep_unit=True)
    scale = None if table.one_unit else "standard"
    k = min(MAX_WIDE, 2 * train.shape[1]) if wide else n_components(train)
    model = AutoencoderTransformer(k, scale=scale, random_state=seed, **dict(params))
    model.fit(train)
    Z_train, Z_test = model.transform(train), model.transform(test)
    back = model.inverse_transform(Z_test)
    judged = on_code(Z_train, Z_test, y_train, y_test, seed)
    if judged:
        noise = np.random.default_rng(seed).normal(size=test.shape)
        noise *= NOISE * train.std(axis=0)
        judge = logistic(Z_train, y_train)
        judged["noisy"] = judge.score(model.transform(test + noise), y_test)
    return {
        "k": k,
        "r2": r2_score(test, back, multioutput="variance_weighted"),
        **judged,
        "jacobian": (jacobian := _squared_jacobian(model, test)),
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


def summary(frame, cases):
    """Mean over the tables of each knob at each strength, and what is asked of it."""
    names = ["r2", "knn", "logistic", "noisy"]
    names += ["jacobian", "relative", "activity", "small"]
    table = frame.groupby(["knob", "strength"], sort=False)[names].mean()
    notes = [
        "means over the tables; knn, logistic and noisy over those with classes.",
        f"noisy: accuracy of the logistic regression after noise of {NOISE} standard "
        "deviations is added to the rows held out.",
        "jacobian: mean squared Frobenius norm of the encoder's; relative: the same "
        "over the code's variance; activity: mean absolute code; small: share of its "
        f"entries below {SMALL}.",
    ]
    return table.reset_index(), _sentences(frame, table) + notes


def _sentences(frame, table):
    lines = []
    for knob in table.index.unique("knob"):
        part = frame[frame["knob"] == knob]
        noisy = part.pivot_table("noisy", "strength", ["table", "seed"], sort=False)
        told = [_beside_none(noisy, strength) for strength in noisy.index]
        lines.append(f"{knob}: noisy accuracy {', '.join(told) or 'of no table'}.")
    digits = frame[(frame["table"] == "digits") & (frame["knob"] == "kl")]
    if digits.empty:
        return lines
    mean = digits.groupby("strength")[["r2", "small"]].mean()
    lines += [
        f"kl on digits at {w:g}: {row['small']:.0%} of the code below {SMALL}, "
        f"{row['r2']:.4f} of the variance explained (without: {mean['r2'][0]:.4f})."
        for w, row in mean.drop(0).iterrows()
    ]
    return lines


def _beside_none(noisy, strength):
    mean = f"{noisy.loc[strength].mean():.3f} at {strength:g}"
    gain = noisy.loc[strength] - noisy.loc[0]
    up, down = (gain > 0).sum(), (gain < 0).sum()
    return f"{mean} ({up} up, {down} down)" if strength else mean


def plot(frame):
    """Draw explained variance and noisy accuracy by strength, a line a knob."""
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    panels = figure.subplots(1, 2)
    titles = {"r2": "variance explained", "noisy": "accuracy on noisy rows"}
    for axes, (column, title) in zip(panels, titles.items(), strict=True):
        for knob, part in frame.groupby("knob", sort=False):
            mean = part.groupby("strength")[column].mean()
            axes.plot(range(len(mean)), mean, marker="o", label=knob)
        axes.set(title=title, xlabel="strength (none, weak, medium, strong)")
        axes.set_xticks(range(4))
        axes.grid(alpha=0.3)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper center", ncols=7
    )
    return figure
