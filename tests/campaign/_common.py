"""Small estimators, the calls of each, and faults of their results."""

import linecache

import numpy as np

from sklearn_ae import (
    AEOutlierDetector,
    AutoencoderClassifier,
    AutoencoderCompressor,
    AutoencoderRegressor,
    AutoencoderTransformer,
)

METHODS = {
    "transformer": "transform inverse_transform reconstruct score_samples score",
    "detector": "score_samples decision_function predict p_values explain",
    "classifier": "transform predict predict_proba predict_log_proba score",
    "regressor": "transform predict score",
    "compressor": "transform inverse_transform compress decompress",
}


def small(n_components=None, **params):
    """A transformer whose fit takes some hundredths of a second."""
    shared = {"hidden_layer_sizes": (8,), "max_iter": 1, "random_state": 0}
    return AutoencoderTransformer(n_components, **(shared | params))


def make(kind, **params):
    """An unfitted estimator of a kind, with a small network."""
    if kind == "transformer":
        return small(**params)
    params = {"autoencoder": small(), "random_state": 0} | params
    if kind == "detector":
        return AEOutlierDetector(**params)
    if kind == "compressor":
        return AutoencoderCompressor(**params)
    predictor = AutoencoderClassifier if kind == "classifier" else AutoencoderRegressor
    return predictor(**({"max_iter": 2} | params))


def target(kind, X):
    """Return classes that alternate, numbers, or None."""
    shape = getattr(X, "shape", None) or [len(X) if hasattr(X, "__len__") else 0]
    if kind == "classifier":
        return np.arange(shape[0]) % 2
    return np.sin(np.arange(shape[0])) if kind == "regressor" else None


def call(estimator, name, X, y=None):
    """Call a method by name."""
    if name == "inverse_transform":
        return estimator.inverse_transform(estimator.transform(X))
    if name == "decompress":
        return estimator.decompress(estimator.compress(X))
    return getattr(estimator, name)(X, *([y] if name == "score" else []))


def attempt(function, *args, **kwargs):
    """Return (result, None), (None, None) if refused in words, or (None, fault)."""
    try:
        return function(*args, **kwargs), None
    except Exception as error:
        return None, None if is_refusal(error) else spelled(error)


def is_refusal(error):
    """Tell a sentence of the library or of scikit-learn from an accident below them."""
    frame = error.__traceback__
    while frame.tb_next:
        frame = frame.tb_next
    file = frame.tb_frame.f_code.co_filename
    line = linecache.getline(file, frame.tb_lineno)
    raised = "sklearn" in file and line.strip().startswith("raise")
    # scikit-learn leaves the conversion of cells to numpy and pandas.
    in_words = raised or "sklearn/utils/" in file or "convert" in str(error)
    return isinstance(error, ValueError | TypeError) and in_words


def spelled(error):
    """Return an exception as one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:160]


def faults(kind, estimator, X, y):
    """Call all methods of a fitted estimator; return a list of faults."""
    found = []
    for name in METHODS[kind].split():
        result, fault = attempt(call, estimator, name, X, y)
        if result is not None and name != "compress":
            fault = fault_of(kind, estimator, name, result, X)
        found += [f"{name}: {fault}"] if fault else []
    return found


def fault_of(kind, estimator, name, result, X):
    """Return what is wrong with a method's result, or None."""
    n, d = np.shape(X)
    if n == 1 and name == "score":
        return None  # scikit-learn's R² of one row is NaN
    classes = getattr(estimator, "classes_", ())
    width = {"inverse_transform": d, "reconstruct": d, "explain": d, "decompress": d}
    width |= {"predict_proba": len(classes), "predict_log_proba": len(classes)}
    if name == "transform":
        width[name] = len(estimator.get_feature_names_out())
    shape = () if name == "score" else (n, width[name]) if name in width else (n,)
    # An explanation is a pair, of contributions and expected values.
    for part in result if isinstance(result, tuple) else (result,):
        values = np.asarray(part)
        if values.shape != shape or values.dtype.kind not in "fiub":
            return f"{values.dtype} of shape {values.shape} instead of {shape}"
        if name == "predict_log_proba" or (kind, name) == ("regressor", "score"):
            values = np.exp(values)  # -inf of a probability of 0, of squares past 1e308
        if not np.isfinite(values).all():
            return f"{(~np.isfinite(values)).sum()} values are not finite"
    return None
