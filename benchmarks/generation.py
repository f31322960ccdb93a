"""How well rows drawn from a model can be distinguished from real ones."""

from functools import partial

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import StratifiedKFold, cross_val_predict, train_test_split
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from benchmarks._measure import each, seeds, timed
from benchmarks._tables import tables
from sklearn_ae import AutoencoderTransformer
from sklearn_ae.tables._normal_scores import NormalScores

MAX_ROWS, MAX_MIXTURE = 6000, 10  # half of the rows to fit, half to compare with


def _sampled(X, n, seed, **params):
    model = AutoencoderTransformer(random_state=seed, **params)
    return model.fit(X).sample(n, random_state=seed)


def _standard_normal_codes(X, n, seed):
    model = AutoencoderTransformer(random_state=seed).fit(X)
    codes = np.random.default_rng(seed).normal(size=(n, model.n_components_))
    return model.inverse_transform(codes)


def _mixture(X, n, seed, n_components=MAX_MIXTURE, scaler=StandardScaler):
    scaler = scaler()
    if isinstance(scaler, QuantileTransformer):
        n_quantiles = min(1000, len(X))
        scaler.set_params(n_quantiles=n_quantiles, output_distribution="normal")
    scaler.fit(X)
    n_components = min(n_components, max(1, len(X) // 20))
    model = GaussianMixture(n_components, reg_covar=1e-4, random_state=seed)
    return scaler.inverse_transform(model.fit(scaler.transform(X)).sample(n)[0])


METHODS = {  # (rows, number to draw, seed) -> rows
    "Gaussian": partial(_mixture, n_components=1),
    "mixture": _mixture,
    "Gaussian q": partial(_mixture, n_components=1, scaler=QuantileTransformer),
    "mixture q": partial(_mixture, scaler=QuantileTransformer),
    "mixture r": partial(_mixture, scaler=NormalScores),
    "plain, N(0, I)": _standard_normal_codes,
    "plain, mixture": partial(_sampled, prior="mixture"),
    "plain q, mixture": partial(_sampled, prior="mixture", scale="quantile"),
    "variational": partial(_sampled, latent="gaussian"),
    "variational, N(0, I)": partial(_sampled, latent="gaussian", prior="normal"),
    "variational s": partial(_sampled, latent="gaussian", scale="standard"),
}
KEYS, FIGURE, OURS, LOWER_IS_BETTER = ["method"], "auc", "variational", True
MEASURED = ("auc", "seconds")


def cases(options):
    """Every table with every seed and method."""
    return each(table=tables(options), seed=seeds(options), method=METHODS)


def measure(table, method, seed):
    """Draw as many rows as are held out, and classify them."""
    rows = np.random.default_rng(seed).permutation(len(table.X))[:MAX_ROWS]
    train, test = train_test_split(table.X[rows], test_size=0.5, random_state=seed)
    seconds, drawn = timed(METHODS[method], train, len(test), seed)
    return {"auc": two_sample_auc(test, drawn, seed), "seconds": seconds}


def two_sample_auc(real, drawn, seed):
    """Cross-validated area under the ROC curve of a classifier, at least 0.5."""
    X, y = np.vstack([real, drawn]), np.repeat([0, 1], [len(real), len(drawn)])
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    model = HistGradientBoostingClassifier(random_state=seed)
    p = cross_val_predict(model, X, y, cv=folds, method="predict_proba")[:, 1]
    return max(0.5, roc_auc_score(y, p))
