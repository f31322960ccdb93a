"""Whether rows drawn from a model can be told from real ones.

A classifier learns to tell drawn rows from rows held out, in shuffled cross-validation:
its area under the ROC curve is 1 where it always can and 0.5 where it has to guess (a
lower one counts as that). The classifier two-sample test: Lopez-Paz and Oquab, 2017.
Revisiting classifier two-sample tests. ICLR.
"""

from functools import partial

import numpy as np
from matplotlib.figure import Figure
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import StratifiedKFold, cross_val_predict, train_test_split
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from benchmarks._judge import timed
from benchmarks._report import number
from benchmarks._tables import each, load_tables
from sklearn_ae import AutoencoderTransformer
from sklearn_ae.tables._normal_scores import NormalScores

MAX_ROWS = 6000  # half of them to fit, half to compare with
MAX_MIXTURE = 10


def _plain(X, n, seed):
    """Decode codes of a distribution that the autoencoder was not trained for."""
    model = AutoencoderTransformer(random_state=seed).fit(X)
    codes = np.random.default_rng(seed).normal(size=(n, model.n_components_))
    return model.inverse_transform(codes)


def _sampled(X, n, seed, **params):
    model = AutoencoderTransformer(random_state=seed, **params)
    return model.fit(X).sample(n, random_state=seed)


def _standard(n_rows):
    return StandardScaler()


def _quantiles(n_rows):
    n_quantiles = min(1000, n_rows)
    return QuantileTransformer(n_quantiles=n_quantiles, output_distribution="normal")


def _ranks(n_rows):
    return NormalScores()


def _mixture(X, n, seed, n_components=MAX_MIXTURE, scaler=_standard):
    scaler = scaler(len(X)).fit(X)
    n_components = min(n_components, max(1, len(X) // 20))
    model = GaussianMixture(n_components, reg_covar=1e-4, random_state=seed)
    return scaler.inverse_transform(model.fit(scaler.transform(X)).sample(n)[0])


METHODS = {  # (rows, number to draw, seed) -> rows
    "Gaussian": partial(_mixture, n_components=1),
    "mixture": _mixture,
    "Gaussian q": partial(_mixture, n_components=1, scaler=_quantiles),
    "mixture q": partial(_mixture, scaler=_quantiles),
    "mixture r": partial(_mixture, scaler=_ranks),
    "plain, N(0, I)": _plain,
    "plain, mixture": partial(_sampled, prior="mixture"),
    "plain q, mixture": partial(_sampled, prior="mixture", scale="quantile"),
    "variational": partial(_sampled, latent="gaussian"),
    "variational, N(0, I)": partial(_sampled, latent="gaussian", prior="normal"),
    "variational s": partial(_sampled, latent="gaussian", scale="standard"),
}
FORMATS = {
    **dict.fromkeys(("table", "method"), str),
    **dict.fromkeys(("seed", "rows", "columns"), "{:.0f}".format),
    "auc": number,
    "seconds": "{:.2f}".format,
}


def cases(options):
    """Every table with every seed and method."""
    return each(load_tables(options), METHODS, options)


def measure(table, method, seed):
    """Draw as many rows as are held out, and try to tell them apart."""
    rows = np.random.default_rng(seed).permutation(len(table.X))[:MAX_ROWS]
    train, test = train_test_split(table.X[rows], test_size=0.5, random_state=seed)
    seconds, drawn = timed(METHODS[method], train, len(test), seed)
    return {
        "rows": len(train),
        "columns": train.shape[1],
        "auc": told_apart(test, drawn, seed),
        "seconds": seconds,
    }


def told_apart(real, drawn, seed):
    """Cross-validated area under the ROC curve of a classifier, at least 0.5."""
    X, y = np.vstack([real, drawn]), np.repeat([0, 1], [len(real), len(drawn)])
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    judge = HistGradientBoostingClassifier(random_state=seed)
    guess = cross_val_predict(judge, X, y, cv=folds, method="predict_proba")[:, 1]
    return max(0.5, roc_auc_score(y, guess))


def summary(frame, cases):
    """Mean over the tables, and how often a variational autoencoder is ahead."""
    auc = (
        frame.groupby(["table", "method"], sort=False)["auc"].mean().unstack(sort=False)
    )
    table = frame.groupby("method", sort=False)[["auc", "seconds"]].mean().reset_index()
    lines = [
        f"{ours} is ahead of {rival} on {(auc[ours] < auc[rival]).sum()} of {len(auc)} "
        f"tables, behind on {(auc[ours] > auc[rival]).sum()}."
        for ours in ("variational", "variational, N(0, I)")
        for rival in ("Gaussian", "mixture", "mixture q", "mixture r")
    ]
    return table, [
        *lines,
        "auc: 0.5 is rows that cannot be told from real ones, 1 rows that always can.",
        "q: after each column was mapped to a normal distribution, undone on the rows "
        "drawn (by scikit-learn; r, and q of the autoencoders: by this library); s: "
        "after standardising. variational is by its defaults (q, and codes from the "
        "mixture that fit chose); so is plain but for what it says. A mixture "
        f"that stands alone is of {MAX_MIXTURE} normals.",
    ]


def plot(frame):
    """Draw the area under the curve, a line a table and a dot a method."""
    auc = (
        frame.groupby(["table", "method"], sort=False)["auc"].mean().unstack(sort=False)
    )
    figure = Figure(figsize=(8, 1.6 + 0.3 * len(auc)), layout="constrained")
    axes = figure.subplots()
    for method, marker in zip(auc, "^v<>1xX+oDs", strict=False):
        axes.scatter(auc[method], range(len(auc)), 24, marker=marker, label=method)
    axes.set_yticks(range(len(auc)), auc.index)
    axes.set(xlabel="area under the ROC curve (left is better)", xlim=(0.48, 1.02))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=4)
    return figure
