"""scikit-learn's estimator checks: each code path once, and every default."""

import pytest
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_ae import (
    AEOutlierDetector,
    AutoencoderClassifier,
    AutoencoderCompressor,
    AutoencoderRegressor,
    AutoencoderTransformer,
)
from tests.helpers import SmallNetworks, compressor, detector

# The checks are of the contract, not of the fit.
FEW = {"max_iter": 2, "hidden_layer_sizes": (4,)}


def setting(**params):
    return AutoencoderTransformer(**(FEW | params))


def conv(**params):
    """Rows are signals, of whatever length: it differs from check to check."""
    return setting(**({"architecture": "conv"} | params))


TRANSFORMERS = [
    setting(
        init="random",
        activation="relu",
        loss="absolute_error",
        early_stopping=False,
        shuffle=False,
    ),
    setting(corruption_level=(0.05, 2.0), n_components=20, scale=None),
    setting(
        hidden_layer_sizes=(8, 4),
        activation="logistic",
        loss="huber",
        scale="minmax",
        corruption="masking",
        corruption_level=0.3,
        sparsity_weight=0.1,
    ),
    setting(
        n_components=0.5,
        activation="tanh",
        corruption="swap",
        corruption_level=(0.05, 0.5),
        sparsity="l1",
        sparsity_weight=0.1,
        contraction_weight=0.1,
    ),
    setting(
        latent="gaussian",
        prior="normal",
        scale="standard",
        activation="gelu",
        corruption="salt_and_pepper",
        corruption_level=0.1,
        beta=4.0,
    ),
    # The checks fit twice and compare: linear layers stay at PCA, where they start.
    setting(prior="mixture", scale="quantile", hidden_layer_sizes=(), warm_start=True),
    setting(architecture=SmallNetworks(), activation="identity", max_iter=4),
    setting(architecture=SmallNetworks(), init="random", latent="gaussian"),
    conv(corruption_level=(0.05, 2.0), n_components=2, contraction_weight=0.1),
    conv(hidden_layer_sizes=(3, 5), init="random", latent="gaussian"),
]
NOISE = FEW | {"corruption_level": (0.05, 2.0), "early_stopping": False}
DETECTORS = [
    detector(NOISE | {"scale": "quantile"}, contamination=0.1),
    detector(FEW | {"corruption": "masking", "corruption_level": 0.3}, contamination=0),
    detector(FEW | {"latent": "gaussian"}, method="reconstruction"),
    detector(NOISE | {"architecture": "conv"}),
]
PREDICTORS = [
    # Without held-out rows or a penalty, the thousand iterations of a check overfit
    # fifty noisy rows, whatever their classes weigh.
    AutoencoderClassifier(
        setting(), max_iter=2, early_stopping=False, alpha=10.0, class_weight="balanced"
    ),
    AutoencoderClassifier(conv(), fine_tune=False, missing_label=None),
    AutoencoderRegressor(
        setting(latent="gaussian"), max_iter=2, fine_tune=1, consistency_weight=0.0
    ),
]
COMPRESSORS = [
    compressor(FEW, target_psnr=10, scale="minmax"),
    compressor(FEW, bits_per_component=2, n_components=2, scale=None),
    compressor(FEW | {"architecture": "conv"}, error_bound=0.01),
]
# Fine-tuning in full would take two minutes.
DEFAULTS = [
    AutoencoderTransformer(),
    AEOutlierDetector(),
    AutoencoderClassifier(max_iter=2),
    AutoencoderRegressor(max_iter=2),
    AutoencoderCompressor(),
]
SETTINGS = [*TRANSFORMERS, *DETECTORS, *PREDICTORS, *COMPRESSORS, *DEFAULTS]


@parametrize_with_checks(SETTINGS)
def test_estimator_checks(estimator, check):
    check(estimator)


def choices(kind):
    """Parameters of an estimator that name something, and the names there are."""
    for name, constraints in kind._parameter_constraints.items():
        options = [c.options for c in constraints if isinstance(c, StrOptions)]
        if options:
            names = set().union(*options)
            yield name, names | {None} if None in constraints else names


def test_every_choice_of_the_transformer_is_checked():
    # So that a new choice of a parameter can't be added without its checks.
    fitted = [e for e in SETTINGS if isinstance(e, AutoencoderTransformer)]
    for name, expected in choices(AutoencoderTransformer):
        values = [getattr(estimator, name) for estimator in fitted]
        found = {v for v in values if v is None or isinstance(v, str)}
        assert found == expected, name


@pytest.mark.parametrize("default", DEFAULTS[1:], ids=lambda e: type(e).__name__)
def test_every_choice_of_a_task_is_checked(default):
    kind = type(default)
    fitted = [e for e in SETTINGS if isinstance(e, kind)]
    of_the_autoencoder = dict(choices(AutoencoderTransformer))
    for name, expected in choices(kind):
        # Tables of the checks have too few rows for 19 last ones.
        expected = expected - {"last"}
        if expected != of_the_autoencoder.get(name):
            values = [getattr(estimator, name) for estimator in fitted]
            found = {v for v in values if v is None or isinstance(v, str)}
            assert found >= expected, name


@pytest.mark.parametrize("name", ["early_stopping", "warm_start", "shuffle"])
def test_both_values_of_a_switch_are_checked(name):
    fitted = [e for e in SETTINGS if isinstance(e, AutoencoderTransformer)]
    assert {getattr(estimator, name) for estimator in fitted} == {True, False}
