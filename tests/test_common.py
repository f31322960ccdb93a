"""scikit-learn's estimator checks on every setting that changes the code path."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_ae import AutoencoderTransformer


def setting(**params):
    """A setting with few iterations: the checks are of the contract, not the fit."""
    return AutoencoderTransformer(**({"max_iter": 4} | params))


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
]


@parametrize_with_checks(SETTINGS)
def test_estimator_checks(estimator, check):
    check(estimator)


def test_every_choice_of_a_setting_that_changes_the_path_is_checked():
    # So that a new choice of a parameter can't be added without its checks.
    for name in ("init", "scale", "loss"):
        seen = {getattr(estimator, name) for estimator in SETTINGS}
        constraints = AutoencoderTransformer._parameter_constraints[name]
        choices = {c for part in constraints for c in getattr(part, "options", {part})}
        if name == "scale":
            assert None in choices
        assert seen == choices, name


@pytest.mark.parametrize("name", ["early_stopping", "warm_start", "shuffle"])
def test_both_values_of_a_switch_are_checked(name):
    assert {getattr(estimator, name) for estimator in SETTINGS} == {True, False}
