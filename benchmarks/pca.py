"""How much of a table an autoencoder keeps, beside PCA with as many components.

Every method sees the same standardised training rows; every figure is taken on the
25 % of the rows held out.
"""

from contextlib import suppress
from functools import partial
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.metrics import r2_score

from benchmarks._judge import n_components, on_code, split, timed
from benchmarks._report import number
from benchmarks._rivals import KERNEL_ROWS, CappedKernelPCA, MLPAutoencoder
from benchmarks._tables import each, load_tables
from sklearn_ae import AutoencoderTransformer

TRUST_ROWS = 1000  # it compares all pairs of rows
EXACT = 1e-8  # an error below this share of the variance is rounding
EQUAL = 5e-4  # ratios this near print the same three decimals

METHODS = {  # (n_components, random_state=seed) -> estimator
    "PCA": PCA,
    "KernelPCA": CappedKernelPCA,
    "MLPRegressor": lambda k, random_state: MLPAutoencoder(
        hidden_layer_sizes=(128, k, 128), random_state=random_state
    ),
    "ours random": partial(AutoencoderTransformer, init="random"),
    "ours": AutoencoderTransformer,
}
FORMATS = {
    **dict.fromkeys(("table", "method"), str),
    **dict.fromkeys(("seed", "rows", "columns", "k"), "{:.0f}".format),
    "r2": lambda share: "exact" if 1 - share < EXACT else f"{share:.4f}",
    **dict.fromkeys(("ratio", "knn", "logistic", "ari", "trust"), number),
    **dict.fromkeys(("fit_s", "transform_s"), "{:.2f}".format),
}


def cases(options):
    """Every table with every seed and method."""
    tables = load_tables(options)
    _burn_in()
    return each(tables, METHODS, options)


def _burn_in():
    """Pay for first calls before anything is timed; failures show in the cases."""
    X = np.random.default_rng(0).normal(size=(40, 4))
    for make in METHODS.values():
        with suppress(Exception):
            make(1, random_state=0).fit(X).transform(X)


def measure(table, method, seed):
    """Fit one method on one table and judge it on the rows held out."""
    train, test, y_train, y_test = split(table, seed)
    k = n_components(train)
    model = METHODS[method](k, random_state=seed)
    fit_s, _ = timed(model.fit, train)
    transform_s, code = timed(model.transform, test)
    return {
        "rows": len(table.X),
        "columns": table.X.shape[1],
        "k": k,
        **_reconstruction(train, test, model.inverse_transform(code), k),
        **on_code(model.transform(train), code, y_train, y_test, seed),
        "trust": _trust(method, train, test, seed),
        "fit_s": fit_s,
        "transform_s": transform_s,
    }


def _reconstruction(train, test, back, k):
    """Share of variance explained, and the squared error over PCA's."""
    pca = PCA(k, random_state=0).fit(train)
    error = ((test - back) ** 2).sum()
    pca_error = ((test - pca.inverse_transform(pca.transform(test))) ** 2).sum()
    # Rounding over rounding says nothing: two exact methods are equal.
    floor = max(EXACT * test.var(axis=0).sum() * len(test), np.finfo(float).tiny)
    return {
        "r2": r2_score(test, back, multioutput="variance_weighted"),
        "ratio": max(error, floor) / max(pca_error, floor),
    }


def _trust(method, train, test, seed):
    """Share of a two-component picture's neighbours that are the table's."""
    if train.shape[1] < 2:
        return np.nan
    model = METHODS[method](2, random_state=seed).fit(train)
    rows = test[:TRUST_ROWS]  # already in random order
    n_neighbors = min(5, (len(rows) - 1) // 2)
    return trustworthiness(rows, model.transform(rows), n_neighbors=n_neighbors)


def summary(frame, cases):
    """Judge each method over all tables, and ours against each other one."""
    ratio, by_method = _ratios(frame), frame.groupby("method", sort=False)
    table = by_method[["knn", "logistic", "ari", "trust"]].mean()
    table.insert(0, "median_ratio", ratio.median())
    table.insert(1, "mean_ratio", ratio.mean())
    table["total_s"] = by_method[["fit_s", "transform_s"]].sum().sum(axis=1)
    return table.reset_index(), _sentences(ratio) + _notes(cases)


def _ratios(frame):
    """Error ratio to PCA, tables x methods, the mean over seeds."""
    ratio = frame.groupby(["table", "method"], sort=False)["ratio"].mean()
    return ratio.unstack(sort=False)


def _sentences(ratio):
    ours = ratio["ours"].dropna()
    if ours.empty:
        return ["ours has no result."]
    better, worse = (ours < 1 - EQUAL).sum(), (ours > 1 + EQUAL).sum()
    lines = [
        f"ours against PCA on {len(ours)} tables: better on {better}, "
        f"equal on {len(ours) - better - worse}, worse on {worse}; "
        f"worst ratio {ours.max():.3f} ({ours.idxmax()})."
    ]
    for rival in ratio.columns.drop(["PCA", "ours"]):
        beaten = ratio.index[ratio[rival] < ratio["ours"] - EQUAL]
        names = f": {', '.join(beaten)}" if len(beaten) else ""
        lines.append(
            f"{rival} beats ours on {len(beaten)} of {len(ratio)} tables{names}."
        )
    return lines


def _notes(cases):
    drawn = [note for note in dict.fromkeys(c["table"].drawn for c in cases) if note]
    rows = f"Rows drawn with seed {cases[0]['seed']}: {', '.join(drawn)}."
    return [rows] * bool(drawn) + [
        "ratio: squared error over PCA's on the 25 % of the rows held out; all "
        "methods see the same standardised columns.",
        f"KernelPCA learns from at most {KERNEL_ROWS:,} rows; its gamma and alpha had "
        "the lowest held-out error over ten tables. The others are at defaults.",
        f"trust(worthiness): 2-component code, at most {TRUST_ROWS:,} held-out rows.",
    ]


def plot(frame):
    """Draw the error ratio to PCA, a line a table and a dot a method."""
    ratio = _ratios(frame).drop(columns="PCA").sort_values("ours", ascending=False)
    ratio = ratio.clip(upper=10)  # where PCA is nearly exact, it can be millions
    figure = Figure(figsize=(8, 1.6 + 0.26 * len(ratio)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(1, color="black", linewidth=1)
    lines = range(len(ratio))
    for method, marker in zip(ratio, cycle("^sDo"), strict=False):
        size, color = (90, "tab:red") if method == "ours" else (24, None)
        dots = {"marker": marker, "label": method, "zorder": 3 - (method == "ours")}
        axes.scatter(ratio[method], lines, size, color, **dots)
    label = "squared error / PCA's on held-out rows (left is better; 10 is 10 or more)"
    axes.set(xscale="log", xlabel=label, xlim=(min(0.4, ratio.min().min() / 1.1), 11))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_yticks(lines, ratio.index)
    axes.grid(alpha=0.3)
    axes.margins(y=0.5 / len(ratio))
    figure.legend(loc="outside upper center", ncols=len(ratio.columns))
    return figure
