"""scikit-learn's estimator checks on every setting that changes the code path."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from sklearn_ae import (
    AEOutlierDetector,
    AutoencoderClassifier,
    AutoencoderCompressor,
    AutoencoderRegressor,
    AutoencoderTransformer,
)


def setting(**params):
    """A setting with few iterations: the checks are of the contract, not the fit."""
    return AutoencoderTransformer(**({"max_iter": 4} | params))


def conv(**params):
    """Of rows as signals: whatever the length, which differs from check to check."""
    return setting(**({"architecture": "conv", "hidden_layer_sizes": (4,)} | params))


class CallableArchitecture:
    """A user's networks; with a name that is the same in each process."""

    def __repr__(self):
        return "own"

    def __call__(self, n_features, n_components):
        wide, narrow = n_features, n_components
        encoder = [nn.Linear(wide, 5), nn.Dropout(), nn.Linear(5, narrow)]
        decoder = [nn.Linear(narrow, 5), nn.Tanh(), nn.Linear(5, wide)]
        return nn.Sequential(*encoder), nn.Sequential(*decoder)


SETTINGS = [
    AutoencoderTransformer(),
    setting(init="random"),
    setting(early_stopping=False),
    setting(n_components=0.5),
    setting(n_components=2),
    setting(scale="minmax"),
    setting(scale="quantile"),
    setting(scale=None),
    setting(warm_start=True),
    setting(loss="absolute_error"),
    setting(loss="huber"),
    setting(hidden_layer_sizes=()),
    setting(hidden_layer_sizes=(8, 4), activation="relu"),
    setting(shuffle=False),
    setting(corruption="gaussian", corruption_level=0.5),
    setting(corruption="masking", corruption_level=0.3),
    setting(corruption="swap", corruption_level=0.3),
    setting(corruption="salt_and_pepper", corruption_level=0.1),
    setting(corruption_level=(0.05, 2.0)),
    setting(corruption_level=(0.05, 2.0), n_components=20, early_stopping=False),
    setting(corruption="masking", corruption_level=(0.05, 0.5)),
    setting(sparsity="kl", sparsity_weight=0.1),
    setting(sparsity="kl", sparsity_weight=0.1, init="random"),
    setting(sparsity="l1", sparsity_weight=0.1),
    setting(contraction_weight=0.1),
    setting(contraction_weight=0.1, early_stopping=False),
    setting(corruption_level=0.5, sparsity_weight=0.1, contraction_weight=0.1),
    setting(latent="gaussian"),
    setting(latent="gaussian", init="random", beta=4.0),
    setting(latent="gaussian", prior="normal", scale="standard"),
    setting(prior="mixture"),
    conv(),
    conv(init="random", activation="relu"),
    conv(hidden_layer_sizes=(3, 5), early_stopping=False, scale="standard"),
    conv(corruption_level=0.5, contraction_weight=0.1),
    conv(corruption_level=(0.05, 2.0), n_components=2),
    conv(sparsity="kl", sparsity_weight=0.1),
    conv(latent="gaussian"),
    setting(architecture=CallableArchitecture()),
    setting(architecture=CallableArchitecture(), init="random", latent="gaussian"),
    setting(
        latent="gaussian",
        corruption_level=0.5,
        sparsity="l1",
        sparsity_weight=0.1,
        contraction_weight=0.1,
    ),
]


DENOISER = setting(corruption_level=(0.05, 2.0), early_stopping=False)
DETECTORS = [
    AEOutlierDetector(),
    AEOutlierDetector(autoencoder=DENOISER),
    AEOutlierDetector(contamination=0, autoencoder=DENOISER),
    AEOutlierDetector(autoencoder=setting(latent="gaussian", scale="quantile")),
    AEOutlierDetector(contamination=0.1, autoencoder=setting(scale=None)),
    AEOutlierDetector(
        autoencoder=setting(corruption="masking", corruption_level=0.3, init="random")
    ),
    AEOutlierDetector(method="reconstruction"),
    AEOutlierDetector(method="reconstruction", autoencoder=setting(latent="gaussian")),
    AEOutlierDetector(autoencoder=conv(corruption_level=(0.05, 2.0))),
    AEOutlierDetector(autoencoder=setting(architecture=CallableArchitecture())),
]


def predictors(**params):
    """Both kinds, with few iterations of either phase."""
    params = {"autoencoder": setting(n_components=0.9), "max_iter": 2} | params
    return [AutoencoderClassifier(**params), AutoencoderRegressor(**params)]


CLASSIFIER, REGRESSOR = 0, 1
PREDICTORS = [
    *predictors(autoencoder=None),
    # Without rows to judge by nor a penalty, the thousand iterations of a check learn
    # fifty noisy rows by heart, whatever their classes weigh.
    *predictors(early_stopping=False, alpha=10.0),
    predictors(fine_tune=False)[CLASSIFIER],
    predictors(fine_tune=1, consistency_weight=0.0)[REGRESSOR],
    predictors(autoencoder=conv())[CLASSIFIER],
    predictors(autoencoder=setting(latent="gaussian"))[REGRESSOR],
    AutoencoderClassifier(setting(), max_iter=2, class_weight="balanced"),
]


def compressor(**params):
    network = AutoencoderTransformer(max_iter=2, hidden_layer_sizes=(8,))
    return AutoencoderCompressor(**({"autoencoder": network} | params))


COMPRESSORS = [
    compressor(),
    compressor(target_psnr=10, scale="minmax"),
    compressor(bits_per_component=2, scale=None),
    compressor(n_components=2),
    compressor(error_bound=0.01),
    compressor(autoencoder=conv(max_iter=2, hidden_layer_sizes=(4,))),
]


@parametrize_with_checks([*SETTINGS, *DETECTORS, *PREDICTORS, *COMPRESSORS])
def test_estimator_checks(estimator, check):
    check(estimator)


def test_every_choice_of_a_setting_that_changes_the_path_is_checked():
    # So that a new choice of a parameter can't be added without its checks.
    for name in ("init", "scale", "loss", "corruption", "sparsity", "latent", "prior"):
        seen = {getattr(estimator, name) for estimator in SETTINGS}
        constraints = AutoencoderTransformer._parameter_constraints[name]
        choices = {c for part in constraints for c in getattr(part, "options", {part})}
        if name == "scale":
            assert None in choices
        # A user's own function is tested in tests/test_variants.py.
        assert seen == choices - {callable}, name


@pytest.mark.parametrize("name", ["early_stopping", "warm_start", "shuffle"])
def test_both_values_of_a_switch_are_checked(name):
    assert {getattr(estimator, name) for estimator in SETTINGS} == {True, False}
