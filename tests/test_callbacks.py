"""scikit-learn's callbacks on the estimator, alone and inside a search."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import rich
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ae import (
    AEOutlierDetector,
    AutoencoderClassifier,
    AutoencoderCompressor,
    AutoencoderRegressor,
    AutoencoderTransformer,
)
from tests import helpers

X, y = load_wine(return_X_y=True)


def transformer(**params):
    return helpers.transformer(**({"max_iter": 4} | params))


class Recorder:
    """Records its calls; ``stop_at`` and ``fail_at`` name a moment."""

    def __init__(self, stop_at=None, fail_at=None):
        self.events, self.codes, self.data = [], [], []
        self.stop_at, self.fail_at = stop_at, fail_at

    def _moment(self, *moment):
        self.events.append(moment)
        if moment == self.fail_at:
            raise ZeroDivisionError("mine")

    def setup(self, estimator, context):
        self._moment("setup")

    def teardown(self, estimator, context):
        self._moment("teardown")

    def on_fit_task_begin(self, estimator, context, *, X, y, metadata):
        self.data.append((X, y, metadata))
        self._moment("begin", context.task_name, context.task_id)

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        moment = ("end", context.task_name, context.task_id)
        self.codes.append(fitted_estimator.transform(X))
        self._moment(*moment)
        return moment == self.stop_at


def expected_events(n_iter):
    iterations = [(m, "iteration", i) for i in range(n_iter) for m in ("begin", "end")]
    return [
        ("setup",),
        ("begin", "fit", 0),
        *iterations,
        ("end", "fit", 0),
        ("teardown",),
    ]


@pytest.mark.parametrize("warm_start", [False, True])
def test_callbacks_are_told_of_the_fit_and_of_each_iteration(warm_start):
    recorder = Recorder()
    ae = transformer(warm_start=warm_start).set_callbacks(recorder)
    for _ in range(2):
        recorder.events.clear()
        ae.fit(X)
        assert recorder.events == expected_events(4)


def test_callbacks_change_nothing():
    ae, other = transformer().set_callbacks(Recorder()).fit(X), transformer().fit(X)
    assert ae.loss_curve_ == other.loss_curve_
    np.testing.assert_array_equal(ae.transform(X), other.transform(X))


def test_callbacks_see_the_estimator_as_it_is_at_that_moment():
    recorder = Recorder()
    ae = transformer(max_iter=3).set_callbacks(recorder).fit(X)
    *iterations, end = recorder.codes
    np.testing.assert_array_equal(end, ae.transform(X))
    assert len(iterations) == 3
    assert not any(np.array_equal(a, b) for a, b in pairwise(iterations))


@pytest.mark.parametrize("weighted", [False, True])
def test_callbacks_get_the_data_and_x_for_a_missing_y(weighted):
    weight = np.ones(len(X)) if weighted else None
    for given, seen in ((None, X), (y, y)):
        recorder = Recorder()
        transformer().set_callbacks(recorder).fit(X, given, sample_weight=weight)
        for seen_X, seen_y, metadata in recorder.data:
            assert seen_X is X
            assert seen_y is seen
            assert metadata == ({"sample_weight": weight} if weighted else None)


@pytest.mark.parametrize("at", [0, 2])
def test_a_callback_that_returns_true_stops_the_fit(at):
    recorder = Recorder(stop_at=("end", "iteration", at))
    ae = transformer().set_callbacks(recorder).fit(X)
    assert ae.n_iter_ == at + 1
    assert recorder.events == expected_events(at + 1)
    assert ae.best_loss_ <= ae.validation_curve_[0]


MOMENTS = [
    ("setup",),
    ("begin", "fit", 0),
    ("begin", "iteration", 0),
    ("end", "iteration", 0),
    ("end", "iteration", 3),
    ("end", "fit", 0),
    ("teardown",),
]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda m: "-".join(map(str, m)))
@pytest.mark.parametrize("warm_start", [False, True])
def test_a_callback_that_raises_leaves_a_fitted_estimator_as_it_was(moment, warm_start):
    ae = transformer(warm_start=warm_start, tol=0).fit(X)
    recorder = Recorder(fail_at=moment)
    ae.set_callbacks(recorder)
    before, twin = dict(vars(ae)), copy.deepcopy(ae)
    with pytest.raises(ZeroDivisionError, match="mine"):
        ae.fit(X)
    assert recorder.events[-1] == ("teardown",)
    assert vars(ae).keys() == before.keys()
    assert all(vars(ae)[name] is value for name, value in before.items())
    for table in (X, X.astype(np.float32)):
        np.testing.assert_array_equal(ae.transform(table), twin.transform(table))
    # The next fit is as if this one had not been.
    recorder.fail_at = None
    assert ae.fit(X).loss_curve_ == twin.set_callbacks().fit(X).loss_curve_
    np.testing.assert_array_equal(ae.transform(X), twin.transform(X))


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda m: "-".join(map(str, m)))
def test_a_callback_that_raises_leaves_an_unfitted_estimator_unfitted(moment):
    recorder = Recorder(fail_at=moment)
    ae = transformer().set_callbacks(recorder)
    with pytest.raises(ZeroDivisionError, match="mine"):
        ae.fit(X)
    assert recorder.events[-1] == ("teardown",)
    with pytest.raises(NotFittedError):
        ae.transform(X)


def test_callbacks_are_torn_down_where_the_data_is_bad():
    recorder = Recorder()
    with pytest.raises(ValueError, match="NaN"):
        transformer().set_callbacks(recorder).fit(np.full((5, 2), np.nan))
    assert recorder.events == [("setup",), ("teardown",)]


# -- ScoringMonitor --------------------------------------------------------------


def explained(ae, X, y, sample_weight=None):
    return {"score": ae.score(X, sample_weight=sample_weight)}


def scoring_monitor():
    # NOTE: scoring=None, the estimator's own score, fails in scikit-learn 1.9's
    # ScoringMonitor for every estimator: it expects a dict.
    return ScoringMonitor(scoring=explained)


@pytest.mark.parametrize("target", [None, y])
@pytest.mark.parametrize("weighted", [False, True])
def test_scoring_monitor_scores_each_iteration(target, weighted):
    weight = 1.0 + np.arange(len(X)) % 3 if weighted else None
    monitor = scoring_monitor()
    # Every iteration is a new best here, so that the last one is what is kept.
    ae = transformer(early_stopping=False, learning_rate_init=0.005, max_iter=6)
    ae.set_callbacks(monitor).fit(X, target, sample_weight=weight)
    assert ae.best_loss_ == ae.validation_curve_[-1]
    log = monitor.get_logs().data_as_pandas
    scores = log.loc[log.task_name == "iteration", "score"]
    assert len(scores) == ae.n_iter_
    assert scores.iloc[-1] == pytest.approx(ae.score(X, sample_weight=weight), rel=1e-9)
    assert scores.iloc[-1] > scores.iloc[0]
    assert scores.is_unique
    (end,) = log.loc[log.task_name == "fit", "score"]
    assert end == pytest.approx(ae.score(X, sample_weight=weight), rel=1e-9)
    # The monitored loss is what the score counts: one goes with the other.
    if not weighted:
        loss = np.array(ae.validation_curve_[1:])
        np.testing.assert_allclose(1 - scores, loss, rtol=1e-5)


def test_scoring_monitor_starts_again_with_each_fit():
    monitor = scoring_monitor()
    ae = transformer().set_callbacks(monitor)
    ae.fit(X)
    ae.fit(X)
    assert [len(log.data) for log in monitor.get_logs(select="all")] == [5, 5]


# -- inside a search -------------------------------------------------------------


def search(n_jobs, estimator=None):
    grid = {"n_components": [1, 2]}
    estimator = transformer() if estimator is None else estimator
    return GridSearchCV(estimator, grid, cv=2, n_jobs=n_jobs)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_scoring_monitor_inside_a_search(n_jobs):
    monitor = scoring_monitor()
    ae = transformer(early_stopping=False).set_callbacks(monitor)
    fitted = search(n_jobs, ae).fit(X, y)
    log = monitor.get_logs().data_as_pandas
    # 2 settings x 2 folds and the last fit, of 4 iterations each.
    assert (log.task_name == "iteration").sum() == 5 * 4
    ends = log.loc[log.task_name != "iteration"]
    assert len(ends) == 5
    assert ends.score.max() == pytest.approx(fitted.best_estimator_.score(X), abs=0.05)
    assert np.isclose(ends.score, fitted.best_estimator_.score(X), rtol=1e-9).sum() == 1


@pytest.fixture
def _wide_terminal():
    """Room for the whole line: rich cuts what is past the 80th column."""
    rich.reconfigure(width=200)
    yield
    rich.reconfigure()


@pytest.mark.parametrize("target", [None, y])
@pytest.mark.usefixtures("_wide_terminal")
def test_progress_bar(target, capsys):
    transformer().set_callbacks(ProgressBar()).fit(X, target)
    out = capsys.readouterr().out
    assert "AutoencoderTransformer - fit" in out
    assert "100%" in out


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.usefixtures("_wide_terminal")
def test_progress_bar_on_a_search(n_jobs, capsys):
    fitted = search(n_jobs).set_callbacks(ProgressBar()).fit(X, y)
    out = capsys.readouterr().out
    assert "GridSearchCV" in out
    assert "AutoencoderTransformer - fit" in out
    assert "100%" in out
    assert fitted.best_estimator_.n_iter_ == 4


def test_progress_bar_on_a_pipeline(capsys):
    pipeline = Pipeline([("scale", StandardScaler()), ("reduce", transformer())])
    if not hasattr(pipeline, "set_callbacks"):
        pytest.skip("this scikit-learn's Pipeline takes no callbacks")
    pipeline.set_callbacks(ProgressBar()).fit(X)
    assert "AutoencoderTransformer - fit" in capsys.readouterr().out


@pytest.mark.usefixtures("_wide_terminal")
def test_progress_bar_of_a_fit_that_stops_early_or_is_cloned(capsys):
    ae = transformer(tol=1.0, n_iter_no_change=1).set_callbacks(ProgressBar())
    assert ae.fit(X).n_iter_ == 1
    assert "100%" in capsys.readouterr().out
    assert clone(ae).fit(X).n_iter_ == 1


def test_a_callback_sees_the_noise_of_the_iteration():
    def noise(ae, X, y):
        return {"noise": ae.module_.noise_variance.item()}

    monitor = ScoringMonitor(scoring=noise)
    ae = transformer(latent="gaussian", max_iter=15, learning_rate_init=0.005)
    ae.set_callbacks(monitor).fit(X)
    variances = monitor.get_logs().data_as_pandas["noise"]
    assert variances.nunique() == len(variances)


# -- all estimators ----------------------------------------------------------------

SMALL = AutoencoderTransformer(2, hidden_layer_sizes=(4,), max_iter=1)
ESTIMATORS = [
    AutoencoderTransformer(2, hidden_layer_sizes=(4,), max_iter=1, random_state=0),
    AEOutlierDetector(method="reconstruction", autoencoder=SMALL, random_state=0),
    AutoencoderClassifier(SMALL, max_iter=1, random_state=0),
    AutoencoderRegressor(SMALL, max_iter=1, random_state=0),
    AutoencoderCompressor(n_components=2, autoencoder=SMALL, random_state=0),
]


class FailsAt:
    """A callback one of whose hooks raises."""

    def __init__(self, hook, error):
        self.hook, self.error = hook, error

    def _call(self, hook):
        if hook == self.hook:
            raise self.error

    def setup(self, estimator, context):
        self._call("setup")

    def on_fit_task_begin(self, estimator, context):
        self._call("begin" if context.task_name == "fit" else "begin of a task")

    def on_fit_task_end(self, estimator, context):
        self._call("end" if context.task_name == "fit" else "end of a task")

    def teardown(self, estimator, context):
        self._call("teardown")


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("hook", ["setup", "begin", "end", "teardown"])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_a_hook_that_fails_leaves_every_estimator_as_it_was(estimator, hook, error):
    fitted = clone(estimator).fit(X, y).set_callbacks(FailsAt(hook, error))
    before = dict(vars(fitted))
    with pytest.raises(type(error)):
        fitted.fit(10 * X[30:90] + 5, y[30:90])
    assert vars(fitted).keys() == before.keys()
    assert all(vars(fitted)[name] is value for name, value in before.items())
