"""The training loop: what it keeps, when it stops, how it recovers."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.preprocessing import scale
from skorch.callbacks import Callback, EarlyStopping, Freezer

from sklearn_ae import AutoencoderTransformer, _runtime
from sklearn_ae.nn import Autoencoder
from sklearn_ae.tables import _rows
from sklearn_ae.training._weights import BestWeights, one_cycle
from tests import helpers
from tests.helpers import SharedCallback

X = load_wine().data
ALL_DIGITS = load_digits().data
DIGITS = ALL_DIGITS[:600]


def transformer(*callbacks, **params):
    shared = {"batch_size": 16, "learning_rate_init": 0.01}
    net_params = {"callbacks": list(callbacks)} | params.pop("net_params", {})
    return helpers.transformer(**(shared | params), net_params=net_params)


def losses(ae, x):
    """Squared error of each scaled row, in the network's own precision."""
    with torch.no_grad():
        return (ae.module_(x)[0] - x).square().mean(dim=1)


def is_finite(ae):
    weights = torch.cat([p.flatten() for p in ae.module_.parameters()])
    return bool(weights.isfinite().all()) and np.isfinite(ae.reconstruct(X)).all()


class Spy(SharedCallback):
    """Records each mini-batch and the monitored rows."""

    def __init__(self):
        self.batches, self.rates = [], []

    def on_train_begin(self, net, **kwargs):
        monitored = net.monitored
        self.monitored = None if monitored is None else monitored.x.clone()

    def on_batch_end(self, net, batch, **kwargs):
        self.batches.append(batch[0])
        self.rates.append(net.optimizer_.param_groups[0]["lr"])


class Trap(SharedCallback):
    """Raises after a number of mini-batches, once it is set."""

    def __init__(self, error, after=None):
        self.error, self.after = error, after

    def on_batch_end(self, net, **kwargs):
        if self.after is not None:
            self.after -= 1
            if self.after == 0:
                raise self.error


class Poison(SharedCallback):
    """Sets the weights to NaN after the mini-batches of these numbers."""

    def __init__(self, *batches):
        self.batches, self.n = batches, 0

    def on_batch_end(self, net, **kwargs):
        self.n += 1
        if self.n in self.batches:
            with torch.no_grad():
                for p in net.module_.parameters():
                    if p.requires_grad:
                        p.fill_(float("nan"))


# -- best weights ----------------------------------------------------------------


class Selector(Spy):
    """Applies the rule at the start and after each iteration."""

    def _losses(self, net):
        with torch.no_grad():
            x = net.monitored.x
            return (net.module_.eval()(x)[0] - x).square().mean(dim=1)

    def on_train_begin(self, net, **kwargs):
        super().on_train_begin(net, **kwargs)
        losses, weight = self._losses(net), net.monitored.weight
        self.rule = BestWeights(
            torch.zeros(1),
            losses,
            weight,
            tol=0.02,
            keep_start_unless_significant=net._config.keep_start_unless_significant,
        )
        self.waits = []

    def on_epoch_end(self, net, **kwargs):
        self.rule.update(torch.tensor([float(net.n_iter_)]), self._losses(net))
        self.waits.append(self.rule.n_waited)


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize(
    ("init", "learning_rate_init"), [("pca", 0.01), ("pca", 0.3), ("random", 0.1)]
)
def test_the_best_weights_on_the_monitored_rows_are_kept(
    early_stopping, init, learning_rate_init
):
    selector = Selector()
    ae = transformer(
        selector,
        init=init,
        early_stopping=early_stopping,
        learning_rate_init=learning_rate_init,
        max_iter=8,
    ).fit(X)
    # tests/training/test_best_weights.py holds the rule itself.
    kept, loss = selector.rule.select()
    assert len(ae.validation_curve_) == ae.n_iter_ + 1 == 9
    assert len(ae.loss_curve_) == ae.n_iter_
    assert ae.validation_curve_ == pytest.approx(selector.rule.curve, rel=1e-5)
    assert ae.best_loss_ == ae.validation_curve_[int(kept)] <= ae.validation_curve_[0]
    assert losses(ae, selector.monitored).mean().item() == pytest.approx(loss, rel=1e-5)


def test_training_improves_and_is_kept():
    ae = transformer(max_iter=10, batch_size=32).fit(DIGITS)
    assert ae.best_loss_ < 0.8 * ae.validation_curve_[0]
    assert ae.loss_curve_[-1] < ae.loss_curve_[0]


def test_a_gain_below_its_standard_error_is_no_gain():
    # Pure noise in as many directions as there are columns: nothing to learn.
    noise = np.random.default_rng(0).normal(size=(200, 6))
    ae = transformer(max_iter=10).fit(noise)
    assert ae.best_loss_ == ae.validation_curve_[0]
    start = transformer(learning_rate_init=1e-30, max_iter=1).fit(noise)
    np.testing.assert_array_equal(ae.transform(noise), start.transform(noise))


def test_held_out_rows_are_not_trained_on():
    spy = Spy()
    transformer(spy, max_iter=4, shuffle=False, batch_size=1).fit(X)
    held_out = {tuple(row.tolist()) for row in spy.monitored}
    trained = {tuple(row.tolist()) for x in spy.batches for row in x}
    assert len(held_out) > 10
    assert not held_out & trained
    assert len(held_out | trained) == len(np.unique(X, axis=0))


def test_the_share_held_out_is_validation_fraction():
    for fraction in (0.3, 0.5):
        spy = Spy()
        transformer(spy, validation_fraction=fraction).fit(X)
        assert len(spy.monitored) == round(fraction * len(X))


def test_without_early_stopping_training_rows_are_monitored():
    spy = Spy()
    transformer(spy, early_stopping=False, max_iter=1).fit(X)
    assert len(spy.monitored) == len(np.unique(X, axis=0))


def test_without_early_stopping_a_tenth_of_many_rows_is_monitored(monkeypatch):
    monkeypatch.setattr(_rows, "MIN_IN_SAMPLE_MONITOR", 2)
    spy = Spy()
    transformer(spy, early_stopping=False, max_iter=1).fit(X)
    assert len(spy.monitored) == len(np.unique(X, axis=0)) // 10


# -- divergence ------------------------------------------------------------------


@pytest.mark.parametrize("init", ["pca", "random"])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_diverging_fit_warns_and_ends_no_worse_than_the_start(init, early_stopping):
    ae = transformer(
        init=init, learning_rate_init=1e6, early_stopping=early_stopping, max_iter=5
    )
    with pytest.warns(ConvergenceWarning, match="not finite"):
        ae.fit(X)
    assert is_finite(ae)
    assert ae.best_loss_ <= ae.validation_curve_[0]


def test_a_diverging_fit_gives_up_after_three_recoveries():
    with pytest.warns(ConvergenceWarning) as warnings:
        ae = transformer(Poison(*range(1, 1_000)), max_iter=10).fit(X)
    assert ae.n_iter_ == len(warnings) == 3
    assert "no further try" in str(warnings[-1].message)
    assert is_finite(ae)
    assert ae.best_loss_ == ae.validation_curve_[0]


def test_a_fit_that_recovers_goes_on_at_a_tenth_of_the_rate():
    spy, n_per_iteration = Spy(), (len(X) - 44) // 16 + 1
    with pytest.warns(ConvergenceWarning, match="a tenth of the rate") as warnings:
        ae = transformer(
            spy,
            Poison(n_per_iteration + 2),
            init="random",
            max_iter=20,
            learning_rate_init=0.01,
        ).fit(X)
    assert len(warnings) == 1
    assert ae.n_iter_ == 20
    assert is_finite(ae)
    # It went on learning from the best weights.
    assert ae.best_loss_ < min(ae.validation_curve_[:2])
    steps = len(spy.rates)
    expected = 0.01 * np.array([one_cycle(i, steps) for i in range(steps)])
    expected[2 * steps // 20 :] /= 10
    np.testing.assert_allclose(spy.rates, expected)


def test_the_curves_of_a_fit_that_recovered_have_an_entry_for_each_iteration():
    with pytest.warns(ConvergenceWarning):
        ae = transformer(Poison(3), max_iter=5).fit(X)
    assert len(ae.loss_curve_) == ae.n_iter_ == 5
    assert len(ae.validation_curve_) == 6


@pytest.mark.parametrize("after_fit", [True, False])
@pytest.mark.parametrize("last", [True, False])
def test_partial_fit_never_keeps_nan_weights(after_fit, last):
    poison = Poison()
    ae = transformer(poison, batch_size=64)
    if after_fit:
        ae.fit(X)
    # The weights after the last mini-batch are those that no loss has seen.
    poison.n, poison.batches = 0, (2 if last else 1,)
    with pytest.warns(ConvergenceWarning, match="not finite"):
        ae.partial_fit(X)
    assert is_finite(ae)


# -- Ctrl-C ----------------------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("after", [1, 30])
def test_ctrl_c_keeps_the_best_weights_so_far(after, early_stopping):
    spy, trap = Spy(), Trap(KeyboardInterrupt(), after)
    ae = transformer(spy, trap, max_iter=10, early_stopping=early_stopping)
    with pytest.warns(ConvergenceWarning, match="Interrupted"):
        ae.fit(X)
    assert is_finite(ae)
    n_done = (after - 1) // (9 if early_stopping else 12)
    assert ae.n_iter_ == len(ae.loss_curve_) == len(ae.validation_curve_) - 1 == n_done
    assert ae.best_loss_ <= ae.validation_curve_[0]
    assert losses(ae, spy.monitored).mean().item() == pytest.approx(
        ae.best_loss_, rel=1e-5
    )
    assert ae.fit(X).n_iter_ == 10


def test_ctrl_c_in_the_first_iteration_leaves_pca():
    with pytest.warns(ConvergenceWarning, match="Interrupted after 0 of 3"):
        ae = transformer(Trap(KeyboardInterrupt(), 1)).fit(X)
    start = transformer(learning_rate_init=1e-30, max_iter=1).fit(X)
    np.testing.assert_array_equal(ae.transform(X), start.transform(X))


def test_ctrl_c_in_a_warm_start_is_no_worse_than_before():
    trap = Trap(KeyboardInterrupt())
    ae = transformer(trap, warm_start=True).fit(X)
    trap.after = 1
    with pytest.warns(ConvergenceWarning, match="Interrupted"):
        codes = clone(ae).fit(X).transform(X), ae.transform(X)
    assert codes[0].shape == codes[1].shape
    before = ae.transform(X)
    trap.after = 1
    with pytest.warns(ConvergenceWarning, match="Interrupted"):
        ae.fit(X)
    np.testing.assert_array_equal(ae.transform(X), before)
    assert ae.loss_curve_ == []


@pytest.mark.parametrize("after_fit", [True, False])
@pytest.mark.parametrize("after", [1, 5])
def test_ctrl_c_in_partial_fit_keeps_what_was_learnt(after, after_fit):
    trap = Trap(KeyboardInterrupt())
    ae = transformer(trap)
    if after_fit:
        ae.fit(X)
    trap.after = after
    with pytest.warns(ConvergenceWarning, match="Interrupted"):
        ae.partial_fit(X)
    assert is_finite(ae)
    assert ae.n_components_ == 2
    n_iter = ae.n_iter_
    assert ae.partial_fit(X).n_iter_ == n_iter + 1
    assert len(ae.loss_curve_) == ae.n_iter_


def test_ctrl_c_before_training_leaves_no_half_fitted_estimator(monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    name = "sklearn_ae.autoencoder._initialization.principal_axes"
    monkeypatch.setattr(name, interrupted)
    ae = transformer()
    before = dict(vars(ae))
    with pytest.raises(KeyboardInterrupt):
        ae.fit(X)
    assert vars(ae) == before


# -- all or nothing --------------------------------------------------------------


def outputs(ae):
    """What an estimator says, from float64 and float32."""
    codes = [ae.transform(X), ae.transform(X.astype(np.float32))]
    return [*codes, *map(ae.inverse_transform, codes), ae.score_samples(X)]


@pytest.mark.parametrize("after", [1, 12])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_an_error_in_training_leaves_an_unfitted_estimator_unfitted(method, after):
    ae = transformer(Trap(ZeroDivisionError("mine"), min(after, 11)))
    before = dict(vars(ae))
    with pytest.raises(ZeroDivisionError, match="mine"):
        getattr(ae, method)(X)
    assert vars(ae) == before
    with pytest.raises(NotFittedError):
        ae.transform(X)


@pytest.mark.parametrize("after", [1, 10])
@pytest.mark.parametrize(
    ("method", "warm_start"), [("fit", False), ("fit", True), ("partial_fit", False)]
)
def test_an_error_in_training_leaves_a_fitted_estimator_as_it_was(
    method, warm_start, after
):
    trap = Trap(ZeroDivisionError("mine"))
    ae = transformer(trap, warm_start=warm_start).fit(X)
    before, expected = dict(vars(ae)), outputs(ae)
    twin = copy.deepcopy(ae)
    trap.after = after
    with pytest.raises(ZeroDivisionError, match="mine"):
        getattr(ae, method)(X)
    assert vars(ae).keys() == before.keys()
    assert all(vars(ae)[name] is value for name, value in before.items())
    for a, b in zip(outputs(ae), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    # And it trains on as if nothing had been: optimiser and generators included.
    getattr(ae, method)(X)
    getattr(twin, method)(X)
    np.testing.assert_array_equal(ae.transform(X), twin.transform(X))
    assert ae.loss_curve_ == twin.loss_curve_


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_bad_data_leaves_a_fitted_estimator_as_it_was(method):
    ae = transformer().fit(X)
    before, expected = dict(vars(ae)), outputs(ae)
    with pytest.raises(ValueError, match="NaN"):
        getattr(ae, method)(np.where(X > 10, np.nan, X))
    assert vars(ae) == before
    for a, b in zip(outputs(ae), expected, strict=True):
        np.testing.assert_array_equal(a, b)


# -- copies ----------------------------------------------------------------------


def pickled(ae):
    return pickle.loads(pickle.dumps(ae))


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_copy_trains_on_as_the_original(copied, method):
    # Bit for bit: the optimiser's state has to be bound to the copy's weights.
    original = getattr(transformer(), method)(X).partial_fit(X[:80])
    other = copied(original)
    codes = [ae.partial_fit(X[80:]).transform(X) for ae in (original, other)]
    np.testing.assert_array_equal(*codes)
    assert not np.array_equal(codes[0], copied(original).partial_fit(X).transform(X))


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy])
def test_training_a_copy_leaves_the_original(copied):
    original = transformer().fit(X)
    expected = outputs(original)
    other = copied(original).partial_fit(X)
    for a, b in zip(outputs(original), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(other.transform(X), expected[0])


# -- net_params ------------------------------------------------------------------


class Recorder(torch.optim.SGD):
    """SGD that remembers what it is given."""

    norms, group = [], None

    def step(self, closure=None):
        (type(self).group,) = self.param_groups
        (vector,) = self.group["params"]
        self.norms.append(vector.grad.norm().item())
        return super().step(closure)


def test_a_users_optimizer_trains_one_vector():
    Recorder.norms = []
    ae = transformer(
        init="random",
        hidden_layer_sizes=(),
        learning_rate_init=0.5,
        max_iter=10,
        net_params={"optimizer": Recorder},
    ).fit(DIGITS)
    assert min(Recorder.norms) > 0
    assert ae.best_loss_ < 0.9 * ae.validation_curve_[0]


@pytest.mark.parametrize("max_grad_norm", [0.01, 0.03])
def test_gradients_are_clipped_before_the_step(max_grad_norm):
    Recorder.norms = []
    params = {"optimizer": Recorder, "max_grad_norm": max_grad_norm}
    transformer(learning_rate_init=0.01, net_params=params).fit(DIGITS)
    assert max(Recorder.norms) == pytest.approx(max_grad_norm, rel=1e-5)
    assert min(Recorder.norms) <= max_grad_norm


def test_gradients_are_clipped_to_one_by_default():
    counter = Counter()
    transformer(counter).fit(X)
    assert Counter.net.max_grad_norm == 1


def test_options_of_the_optimizer_are_net_params():
    params = {"optimizer": Recorder, "optimizer__momentum": 0.5}
    transformer(net_params=params, alpha=0.25).fit(X)
    assert Recorder.group["momentum"] == 0.5
    assert Recorder.group["weight_decay"] == 0.25


class Counter(Callback):
    n = 0

    def initialize(self):
        self.n, self.names = 0, []
        return self

    def on_batch_end(self, net, **kwargs):
        self.n += 1

    def on_train_end(self, net, **kwargs):
        # A class attribute, as the callback is a copy.
        Counter.net = net

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.names = [name for name, p in named_parameters if p.grad is not None]


def test_a_users_callbacks_are_called_but_not_changed():
    counter = Counter()
    ae = transformer(counter)
    params = ae.net_params
    ae.fit(X)
    assert counter.n == 0
    assert ae.net_params is params == {"callbacks": [counter]}
    (used,) = (c for _, c in Counter.net.callbacks_ if isinstance(c, Counter))
    assert used.n == 3 * 9
    # Gradients have the names of the module's parameters.
    assert set(used.names) <= dict(ae.module_.named_parameters()).keys()
    assert used.names
    assert clone(ae).fit(X).n_iter_ == ae.n_iter_


@pytest.mark.parametrize("name", ["module", "lr", "iterator_train"])
def test_what_the_estimator_sets_is_no_net_param(name):
    with pytest.raises(ValueError, match=f"net_params may not set '{name}'"):
        transformer(net_params={name: 1}).fit(X)


# -- manual gradients ----------------------------------------------------------------

MANUAL = {
    "default": {},
    "random": {"init": "random", "activation": "tanh", "loss": "huber"},
    "noise": {"corruption_level": 0.3, "loss": "absolute_error"},
    "noise-conditional": {"corruption_level": (0.05, 2.0)},
}
BY_AUTOGRAD = {
    "kl": {"sparsity_weight": 0.01},
    "l1": {"sparsity": "l1", "sparsity_weight": 0.01},
    "contractive": {"contraction_weight": 0.1},
    "gaussian": {"latent": "gaussian"},
}


@pytest.mark.parametrize("kind", MANUAL)
def test_a_fit_by_manual_gradients_is_the_one_by_autograd(kind, monkeypatch):
    weight = np.linspace(0.5, 2, len(X))
    ae = transformer(**MANUAL[kind])
    manual = ae.fit(X, sample_weight=weight).reconstruct(X)
    monkeypatch.setattr(Autoencoder, "has_manual_backward", False)
    by_autograd = clone(ae).fit(X, sample_weight=weight).reconstruct(X)
    np.testing.assert_allclose(manual, by_autograd, rtol=1e-5)


class Start(SharedCallback):
    """Keeps the encoder's weights at the start."""

    def on_train_begin(self, net, **kwargs):
        self.weights = [p.detach().clone() for p in net.module_.encoder.parameters()]


def test_parameters_that_a_callback_freezes_stay():
    start = Start()
    ae = transformer(start, Freezer("encoder*"), alpha=0.0).fit(X)
    after = list(ae.module_.encoder.parameters())
    for p, before in zip(after, start.weights, strict=True):
        torch.testing.assert_close(p.detach(), before, rtol=0, atol=1e-6)
    assert ae.n_iter_ == 3


def refuse(module):
    raise ZeroDivisionError


@pytest.mark.parametrize("kind", MANUAL | BY_AUTOGRAD)
def test_gradients_are_manual_where_all_parts_are_known(kind, monkeypatch):
    monkeypatch.setattr(Autoencoder, "make_forward_backward", refuse)
    ae = transformer(**(MANUAL | BY_AUTOGRAD)[kind])
    if kind in BY_AUTOGRAD:
        assert ae.fit(X).n_iter_ == 3
    else:
        with pytest.raises(ZeroDivisionError):
            ae.fit(X)


def test_steps_large_enough_for_threads_are_autograds(monkeypatch):
    monkeypatch.setattr(Autoencoder, "make_forward_backward", refuse)
    monkeypatch.setattr(_runtime, "MIN_FLOPS_FOR_THREADS", 0)
    few = {"hidden_layer_sizes": (4,), "max_iter": 1}
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        transformer(**few).fit(X[:40])
        torch.set_num_threads(1)
        with pytest.raises(ZeroDivisionError):
            transformer(**few).fit(X[:40])
    finally:
        torch.set_num_threads(before)


# -- budget, schedule, patience, output ------------------------------------------


@pytest.mark.parametrize(("n_rows", "per_iteration"), [(3_000, 50), (700, 40)])
def test_an_iteration_has_at_most_50_mini_batches(n_rows, per_iteration):
    rows = np.random.default_rng(0).normal(size=(n_rows, 3))
    spy = Spy()
    transformer(spy, hidden_layer_sizes=(4,), tol=0).fit(rows)
    assert len(spy.batches) == 3 * per_iteration
    assert {len(x) for x in spy.batches} <= {15, 16}


@pytest.mark.parametrize("n_rows", [31, 3_000])
@pytest.mark.parametrize("shuffle", [True, False])
def test_partial_fit_is_one_pass_over_all_rows(n_rows, shuffle):
    rows = np.random.default_rng(0).normal(size=(n_rows, 3))
    spy = Spy()
    ae = transformer(spy, hidden_layer_sizes=(4,), shuffle=shuffle).partial_fit(rows)
    assert sum(map(len, spy.batches)) == n_rows
    assert len(torch.unique(torch.cat(spy.batches), dim=0)) == n_rows
    assert ae.n_iter_ == 1


@pytest.mark.parametrize(
    ("n_rows", "batch_size"), [(40, 16), (550, 64), (1_100, 128), (6_000, 256)]
)
def test_auto_batch_size_is_an_eighth_a_power_of_two_from_16_to_256(n_rows, batch_size):
    rows = np.random.default_rng(0).normal(size=(n_rows, 2))
    spy = Spy()
    transformer(spy, batch_size="auto", hidden_layer_sizes=(4,), max_iter=1).fit(rows)
    # As many rows as that at the most, and about one size.
    assert 0.9 * batch_size < max(len(x) for x in spy.batches) <= batch_size


def test_the_rate_follows_one_cycle_in_fit_and_is_constant_in_partial_fit():
    spy = Spy()
    ae = transformer(spy, learning_rate_init=0.02, max_iter=4).fit(X)
    steps = len(spy.rates)
    assert steps == 4 * 9
    expected = [0.02 * one_cycle(i, steps) for i in range(steps)]
    np.testing.assert_allclose(spy.rates, expected)
    spy.rates.clear()
    ae.partial_fit(X)
    assert set(spy.rates) == {0.02}


@pytest.mark.parametrize("batch_size", [16, 64, 128])
def test_auto_rate_goes_with_the_root_of_the_batch_size(batch_size):
    spy = Spy()
    params = {"batch_size": batch_size, "learning_rate_init": "auto"}
    ae = transformer(spy, max_iter=200, **params).fit(X)
    peak = 0.01 * min(1, np.sqrt(batch_size / 64))
    assert max(spy.rates) == pytest.approx(peak, rel=0.01)
    # Where it is constant, a tenth of it.
    ae = transformer(spy, **params)
    spy.rates.clear()
    ae.partial_fit(X)
    np.testing.assert_allclose(spy.rates, 0.1 * peak)


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_stops(patience):
    # A gain of all of the loss is never made: no iteration counts as one.
    ae = transformer(tol=1.0, n_iter_no_change=patience, max_iter=20).fit(X)
    assert ae.n_iter_ == patience


def test_patience_counts_iterations_since_the_last_gain():
    selector = Selector()
    ae = transformer(
        selector,
        n_iter_no_change=2,
        max_iter=60,
        batch_size=32,
        learning_rate_init=0.03,
        tol=0.02,
    ).fit(DIGITS)
    assert len(selector.waits) == ae.n_iter_
    assert max(selector.waits) == selector.waits[-1] == 2
    assert selector.waits.count(2) == 1
    assert selector.waits.count(1) > 1
    assert 3 < ae.n_iter_ < 60


def test_max_iter_is_reached_where_each_iteration_gains():
    assert transformer(max_iter=5, n_iter_no_change=5).fit(X).n_iter_ == 5


@pytest.mark.parametrize("verbose", [1, True])
def test_verbose_prints_a_line_an_iteration(verbose, capsys):
    ae = transformer(verbose=verbose).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == ae.n_iter_ == 3
    for i, line in enumerate(lines):
        train, monitored = ae.loss_curve_[i], ae.validation_curve_[i + 1]
        assert line == (
            f"Iteration {i + 1}, loss = {train:.6f}, monitored loss = {monitored:.6f}"
        )
    ae.partial_fit(X)
    (line,) = capsys.readouterr().out.splitlines()
    assert line == f"Iteration 1, loss = {ae.loss_curve_[-1]:.6f}"


def test_not_verbose_prints_nothing(capsys):
    transformer().fit(X).partial_fit(X)
    assert capsys.readouterr() == ("", "")


def test_partial_fit_reports_no_loss_that_it_did_not_measure():
    assert np.isnan(transformer().partial_fit(X).best_loss_)
    assert np.isnan(transformer().fit(X).partial_fit(X).best_loss_)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_the_fitted_module_is_ready_for_inference(method):
    ae = getattr(transformer(), method)(X)
    assert not any(m.training for m in ae.module_.modules())
    assert all(p.grad is None for p in ae.module_.parameters())
    assert all(
        p.untyped_storage().nbytes() == 4 * p.numel() for p in ae.module_.parameters()
    )


def test_a_fitted_estimator_does_not_hold_its_rows():
    few, many = (
        len(pickle.dumps(transformer(max_iter=1).fit(np.repeat(X, n, axis=0) + noise)))
        for n in (1, 20)
        for noise in [np.random.default_rng(0).normal(size=(n * len(X), X.shape[1]))]
    )
    assert many < 1.05 * few


# -- what is held out, and what becomes of a start -------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_row_that_a_column_hangs_on_is_trained_on(seed):
    spy = Spy()
    table = np.random.default_rng(0).normal(size=(60, 4))
    # Eight of sixty: by chance some would be held out.
    table[:8, 1] = 40.0 * (1 + np.arange(8))
    transformer(spy, random_state=seed, max_iter=1).fit(table)
    far = scale(table)[:, 1]
    assert len(spy.monitored) == 15
    holds_much = far**2 / np.sum(far**2) > 0.1
    assert 2 <= holds_much.sum() <= 6
    assert spy.monitored[:, 1].max() < far[holds_much].min()


def test_a_warm_start_holds_out_the_same_rows():
    spy = Spy()
    ae = transformer(spy, warm_start=True).fit(X)
    first = spy.monitored
    ae.fit(X)
    assert spy.monitored is not first
    assert torch.equal(spy.monitored, first)


@pytest.mark.parametrize("n_rows", [4, 6, 10])
def test_a_random_start_is_never_kept(n_rows):
    # One or two held-out rows are too few to be sure of anything.
    table = np.outer(np.linspace(-1, 1, n_rows), [1.0, 2.0, -1.0])
    ae = AutoencoderTransformer(1, init="random", random_state=0).fit(table)
    assert ae.score(table) > 0.5


def test_partial_fit_with_defaults_does_not_undo_a_fit():
    ae = helpers.transformer(8, max_iter=30).fit(ALL_DIGITS[:1_000])
    before = ae.score(ALL_DIGITS[1_000:])
    for start in range(0, 1_000, 100):
        ae.partial_fit(ALL_DIGITS[start : start + 100])
    assert ae.score(ALL_DIGITS[1_000:]) > before - 0.01


def test_skorchs_early_stopping_is_no_interruption():
    stop = EarlyStopping(monitor="train_loss", threshold=1.0, patience=2)
    # Warnings are errors: one that says «interrupted» would end here.
    assert transformer(stop, max_iter=20).fit(X).n_iter_ < 20


def test_what_net_params_can_not_be_is_named():
    with pytest.raises(ValueError, match=r"max_grad_norm=-1 has to be above 0"):
        transformer(net_params={"max_grad_norm": -1}).fit(X)
    with pytest.raises(ValueError, match=r"net_params=.*momntum"):
        transformer(net_params={"optimizer__momntum": 0.9}).fit(X)


def test_moments_of_other_options_are_left():
    X = np.random.default_rng(0).normal(size=(40, 3))
    adam = {"optimizer": torch.optim.Adam}
    ae = transformer(warm_start=True, net_params=adam).fit(X)
    ae.set_params(net_params=adam | {"optimizer__amsgrad": True}).fit(X)
    assert np.isfinite(ae.score(X))
