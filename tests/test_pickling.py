"""Pickles of all estimators: what is in them, how large they are, who may read them.

``python -m tests.test_pickling`` writes pickled_state.json.
"""

import copy
import gc
import io
import json
import multiprocessing
import pickle
import re
import warnings
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property, partial
from pathlib import Path
from threading import Barrier

import joblib
import numpy as np
import pytest
import torch
from joblib.externals.loky.backend.reduction import dumps as cloudpickled
from sklearn.base import clone
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from torch import Tensor, nn

import sklearn_ae
from sklearn_ae import (
    AEOutlierDetector,
    AutoencoderClassifier,
    AutoencoderCompressor,
    AutoencoderRegressor,
    AutoencoderTransformer,
    _pickling,
)
from sklearn_ae._pickling import STATE_FORMAT
from sklearn_ae.autoencoder._inference import FittedAutoencoder
from tests.helpers import transformer

PRIVATE_STATE = Path(__file__).with_name("pickled_state.json")
RANDOM = np.random.default_rng(0)
X = np.rint(10 * RANDOM.normal(size=(60, 4)) @ RANDOM.normal(size=(4, 4)))
Y = (X[:, 0] > 0).astype(int)
# Small tables: fewer than 19 rows are held out.
pytestmark = pytest.mark.filterwarnings("ignore:p-values are from 15 rows")
SMALL = {"hidden_layer_sizes": (4,), "max_iter": 2}


class Made:
    """An object that takes an argument by name when it is made."""

    def __new__(cls, *, value):
        new = super().__new__(cls)
        new.value = value
        return new

    def __getnewargs_ex__(self):
        return (), {"value": self.value}


class OddNetwork(nn.Module):
    """A user's network with all that a module may hold."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.one, self.two = nn.Linear(n_in, n_in), nn.Linear(n_in, n_in)
        self.two.weight = self.one.weight
        self.across = nn.Parameter(0.1 * torch.randn(n_out, n_in).t())
        self.fixed = nn.Parameter(torch.ones(n_out), requires_grad=False)
        self.register_buffer("bias", torch.zeros(n_out, dtype=torch.float16))
        self.register_buffer("passing", torch.ones(n_out), persistent=False)
        self.plain = torch.full((n_out,), 0.1, dtype=torch.bfloat16)
        self.several = [torch.ones(0, dtype=torch.int64), {"flag": torch.tensor(True)}]
        self.by_name = OrderedDict(one=torch.ones(1))
        self.queue = deque([torch.ones(1)])
        self.made = Made(value=torch.ones(1))
        self.pattern, self.function = re.compile("a"), np.sin
        self.itself = [self]
        self.recurrent = nn.LSTM(n_in, n_out, batch_first=True)

    def forward(self, x):
        h = self.two(torch.tanh(self.one(x))) @ self.across * self.passing + self.bias
        return h * self.fixed + self.plain.to(x) + self.recurrent(x[:, None])[0][:, 0]

    def __getstate__(self):
        # It needs tensors here, and in __setstate__.
        return vars(self) | {"plain": self.plain + 0}

    def __setstate__(self, state):
        super().__setstate__(state)
        self.plain = self.plain + 0


def odd_networks(n_features, n_components):
    return OddNetwork(n_features, n_components), OddNetwork(n_components, n_features)


class FormerClass:
    """A class that another version has not."""


class Shift(nn.Module):
    """A user's corruption with a parameter."""

    def __init__(self):
        super().__init__()
        self.by = nn.Parameter(torch.tensor(0.5))

    def forward(self, x, level, generator):
        return x + self.by.detach()


def weighted(z, weight):
    return (z.square() * weight).mean(dim=1)


def detector(contamination="auto", **params):
    autoencoder = AutoencoderTransformer(2, **SMALL)
    return AEOutlierDetector(
        contamination, autoencoder=autoencoder, random_state=0, **params
    )


def predictor(kind, **params):
    autoencoder = AutoencoderTransformer(2, **SMALL)
    settings = {"max_iter": 1, "early_stopping": False, "random_state": 0} | params
    return kind(autoencoder, **settings)


ESTIMATORS = {
    "transformer": transformer(**SMALL),
    "trained on": transformer(**SMALL),
    "warm start": transformer(**SMALL, warm_start=True),
    "variational": transformer(**SMALL, latent="gaussian", prior="mixture"),
    "noise-conditional": transformer(**SMALL, corruption_level=(0.1, 1.0)),
    "images": transformer(max_iter=1, architecture="conv", input_shape=(2, 2)),
    "user's networks": transformer(max_iter=1, architecture=odd_networks),
    "user's functions": transformer(
        **SMALL,
        corruption=Shift(),
        corruption_level=0.5,
        sparsity=partial(weighted, weight=torch.ones(2)),
        sparsity_weight=0.1,
    ),
    "user's optimiser": transformer(
        **SMALL, net_params={"optimizer": torch.optim.Adam}, warm_start=True
    ),
    "classifier": predictor(AutoencoderClassifier),
    "classifier, trained on": predictor(AutoencoderClassifier),
    "classifier, not fine-tuned": predictor(AutoencoderClassifier, fine_tune=False),
    "regressor": predictor(AutoencoderRegressor),
    "detector": detector(),
    "detector of novelties": detector(0),
    "detector by reconstruction": detector(method="reconstruction"),
    "compressor": AutoencoderCompressor(
        n_components=2, autoencoder=AutoencoderTransformer(**SMALL), random_state=0
    ),
    "lossless compressor": AutoencoderCompressor(
        error_bound=0, autoencoder=AutoencoderTransformer(**SMALL), random_state=0
    ),
}
every_estimator = pytest.mark.parametrize("name", ESTIMATORS)


@cache
def fitted(name):
    estimator = clone(ESTIMATORS[name]).fit(X, Y)
    return estimator.partial_fit(X, Y) if "trained on" in name else estimator


def results(estimator, X=X):
    """Results of an estimator's methods on rows, by method."""
    said = {}
    for method in ("transform", "score_samples", "predict", "predict_proba"):
        if hasattr(estimator, method):
            said[method] = getattr(estimator, method)(X)
    if hasattr(estimator, "inverse_transform"):
        said["inverse_transform"] = estimator.inverse_transform(said["transform"])
    if hasattr(estimator, "score"):
        said["score"] = estimator.score(X, Y)
    if hasattr(estimator, "sample"):
        said["sample"] = estimator.sample(3, random_state=0)
    if hasattr(estimator, "denoise"):
        level = 0.5 if estimator.module_.is_noise_conditional else None
        said["denoise"] = estimator.denoise(X, level=level)
    if hasattr(estimator, "explain"):
        said["contributions"], said["expected"] = estimator.explain(X[:3])
        said["p_values"] = estimator.p_values(X + 0.5)
    if hasattr(estimator, "compress"):
        stream = estimator.compress(X)
        said["stream"] = np.frombuffer(stream, np.uint8)
        said["decompress"] = estimator.decompress(stream)
    return said


def assert_same_results(one, other, X=X):
    one, other = results(one, X), results(other, X)
    assert one.keys() == other.keys()
    for method in one:
        np.testing.assert_array_equal(one[method], other[method], err_msg=method)


def pickled(estimator):
    return pickle.loads(pickle.dumps(estimator))


# -- arrays, not tensors -----------------------------------------------------------


class NoTorch(pickle.Pickler):
    def persistent_id(self, obj):
        storages = torch.UntypedStorage, torch.TypedStorage
        refused = Tensor, nn.Module, torch.Generator, torch.optim.Optimizer, *storages
        assert not isinstance(obj, refused), type(obj)


@every_estimator
def test_a_pickle_has_no_torch_objects(name):
    NoTorch(io.BytesIO()).dump(fitted(name))
    # And after a pickle, and before a fit.
    NoTorch(io.BytesIO()).dump(pickled(fitted(name)))
    NoTorch(io.BytesIO()).dump(ESTIMATORS[name])


@every_estimator
@pytest.mark.parametrize(
    "copied",
    [pickled, copy.deepcopy, copy.copy, lambda e: pickle.loads(cloudpickled(e))],
    ids=["pickle", "deepcopy", "copy", "cloudpickle"],
)
def test_copies_give_the_same_results(name, copied):
    assert_same_results(copied(fitted(name)), fitted(name))


def test_a_users_network_is_the_same_after_a_pickle():
    modules = (
        fitted("user's networks").module_,
        pickled(fitted("user's networks")).module_,
    )
    one, other = (
        next(part for part in module.modules() if isinstance(part, OddNetwork))
        for module in modules
    )
    assert other.two.weight is other.one.weight
    assert isinstance(other.one.weight, nn.Parameter)
    assert [p.requires_grad for p in other.parameters()] == [
        p.requires_grad for p in one.parameters()
    ]
    assert other.several[1]["flag"].dtype == torch.bool
    assert other.itself[0] is other
    for value in other.by_name["one"], other.queue[0], other.made.value:
        assert torch.equal(value, torch.ones(1))
    assert other.plain.dtype == torch.bfloat16
    assert torch.equal(other.plain, one.plain)
    assert other.state_dict().keys() == one.state_dict().keys()
    for name, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
        assert other.state_dict()[name].dtype == value.dtype


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6.0).view(2, 3).t(),
        torch.arange(24.0)
        .view(1, 2, 3, 4)
        .contiguous(memory_format=torch.channels_last),
        torch.arange(8.0)[2::2],
        torch.ones(1).expand(3),
        torch.tensor([1 + 2j]).conj(),
        torch.tensor([1.5, -2.0], dtype=torch.float8_e4m3fn),
    ],
    ids=["transposed", "channels last", "sliced", "expanded", "conjugate", "float8"],
)
def test_layouts_and_dtypes_of_tensors_survive(tensor):
    function = partial(weighted, weight=tensor)
    after = pickled(transformer(sparsity=function)).sparsity.keywords["weight"]
    assert after.dtype == tensor.dtype
    # That of a copy: memory without gaps.
    assert after.stride() == tensor.clone().stride()
    assert torch.equal(after.to(torch.complex64), tensor.to(torch.complex64))


def test_tensors_that_are_no_plain_arrays_are_left_to_torch():
    function = partial(weighted, weight=torch.eye(2).to_sparse())
    after = pickled(transformer(sparsity=function)).sparsity.keywords["weight"]
    assert torch.equal(after.to_dense(), torch.eye(2))


def test_local_classes_are_left_to_cloudpickle():
    class Local(OddNetwork):
        pass

    ae = transformer(
        max_iter=1, architecture=lambda n, k: (Local(n, k), Local(k, n))
    ).fit(X)
    with pytest.raises((pickle.PicklingError, AttributeError), match="local"):
        pickle.dumps(ae)
    assert_same_results(pickle.loads(cloudpickled(ae)), ae)


def send_results(queue, estimators):
    # Arrays of the child's, which has ended when they are read.
    queue.put([results(estimator) for estimator in estimators])


def test_fitted_estimators_are_arguments_of_a_spawned_process():
    names = ["warm start", "classifier", "regressor", "detector", "lossless compressor"]
    estimators = [fitted(name) for name in names]
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=send_results, args=(queue, estimators))
    process.start()
    try:
        received = queue.get(timeout=120)
    finally:
        process.join(10)
    assert process.exitcode == 0
    for estimator, theirs in zip(estimators, received, strict=True):
        for name, value in results(estimator).items():
            np.testing.assert_array_equal(theirs[name], value, err_msg=name)


@every_estimator
def test_a_state_can_be_set_without_a_pickle(name):
    new = object.__new__(type(fitted(name)))
    new.__setstate__(fitted(name).__getstate__())
    assert_same_results(new, fitted(name))


# -- versions ----------------------------------------------------------------------


@every_estimator
def test_another_version_warns_at_load(name, monkeypatch):
    ours = sklearn_ae.__version__
    monkeypatch.setattr(sklearn_ae, "__version__", "0.0.7")
    written = pickle.dumps(fitted(name))
    # An estimator in an estimator was written by the same version.
    pickle.loads(written)
    monkeypatch.setattr(sklearn_ae, "__version__", ours)
    kind = type(fitted(name)).__name__
    message = f"{kind} of sklearn-ae from version 0.0.7 when using version {ours}"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = pickle.loads(written)
    assert {w.category for w in caught} == {InconsistentVersionWarning}
    assert message in str(caught[-1].message)
    assert_same_results(loaded, fitted(name))


def load(name, without=(), **changes):
    """Load an estimator with a changed state."""
    state = fitted(name).__getstate__() | changes
    for key in without:
        del state[key]
    object.__new__(type(fitted(name))).__setstate__(state)


@every_estimator
def test_a_state_that_can_not_be_read_is_refused(name):
    ours = sklearn_ae.__version__
    with pytest.raises(
        ValueError, match=r"by sklearn-ae before 0\.1\.0, .* fit it again"
    ):
        load(name, without=["_sklearn_ae_version"])
    refused = rf"by sklearn-ae 7\.1, and sklearn-ae {ours} can't read .* fit it again"
    with pytest.raises(ValueError, match=refused):
        load(name, _sklearn_ae_version="7.1", _sklearn_ae_state_format=STATE_FORMAT + 1)
    with pytest.raises(ValueError, match=rf"without random_state by sklearn-ae {ours}"):
        load(name, without=["random_state"])


def test_a_format_is_refused_before_its_classes_are_looked_for(monkeypatch):
    ae = copy.copy(fitted("transformer"))
    ae._former = FormerClass()
    monkeypatch.setattr(_pickling, "STATE_FORMAT", STATE_FORMAT + 1)
    written = pickle.dumps(ae)
    monkeypatch.undo()
    monkeypatch.delattr("tests.test_pickling.FormerClass")
    with pytest.raises(ValueError, match="fit it again"):
        pickle.loads(written)


def test_an_unfitted_pickle_is_unfitted():
    with pytest.raises(NotFittedError):
        pickled(transformer()).transform(X)


class Attributes(pickle._Unpickler):
    """Loads a pickle, and notes the attributes of the library's classes."""

    dispatch = pickle._Unpickler.dispatch.copy()

    def note(self, kind, names):
        if kind.__module__.startswith("sklearn_ae."):
            noted = self.noted.setdefault(f"{kind.__module__}.{kind.__name__}", set())
            cached = (
                k for k, v in vars(kind).items() if isinstance(v, cached_property)
            )
            noted.update(set(names) - {*cached})

    def find_class(self, module, name):
        kind = super().find_class(module, name)
        self.note(kind, getattr(kind, "_fields", ()))
        return kind

    def load_build(self):
        state, value = self.stack[-1], self.stack[-2]
        if isinstance(value, nn.Module):
            parts = (state.get(f"_{kind}", {}) for kind in ("parameters", "buffers"))
            self.note(type(value), [name for part in parts for name in part])
            self.note(type(value), [*state["_modules"]])
            state = state.keys() - vars(nn.Module()).keys()
        self.note(type(value), state)
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


def private_state():
    noted = {}
    for name in ESTIMATORS:
        unpickler = Attributes(io.BytesIO(pickle.dumps(fitted(name))))
        unpickler.noted = noted
        unpickler.load()
    return {kind: sorted(names) for kind, names in sorted(noted.items()) if names}


def test_the_private_state_is_that_of_this_format():
    written = json.loads(PRIVATE_STATE.read_text())
    assert private_state() == written, (
        "Private state has changed. If a release has written the former one, raise "
        "STATE_FORMAT in sklearn_ae/_pickling.py; then python -m tests.test_pickling."
    )


# -- sizes -------------------------------------------------------------------------

TABLE = RANDOM.normal(size=(120, 6))
WIDE = AutoencoderTransformer(
    2, hidden_layer_sizes=(300, 300), max_iter=1, random_state=0
)
# Large networks, and the parameters of which each estimator has to hold.
LARGE = {
    "transformer": (WIDE, lambda e: [e.module_]),
    "variational": (clone(WIDE).set_params(latent="gaussian"), lambda e: [e.module_]),
    # The decoder is that of the pretrained autoencoder.
    **{
        kind.__name__: (
            kind(WIDE, max_iter=1, early_stopping=False, random_state=0),
            lambda e: [e.autoencoder_.module_, e._inference.module.encoder],
        )
        for kind in (AutoencoderClassifier, AutoencoderRegressor)
    },
    "detector": (
        AEOutlierDetector(autoencoder=WIDE, random_state=0),
        lambda e: [e.autoencoder_.module_],
    ),
    "compressor": (
        AutoencoderCompressor(n_components=2, autoencoder=WIDE, random_state=0),
        lambda e: [e.module_],
    ),
}


def held_bytes(estimator):
    """Bytes of the tensors that an estimator refers to, by whatever way."""
    found, tensors, queue = set(), {}, [vars(estimator)]
    while queue:
        value = queue.pop()
        if id(value) in found or isinstance(value, type | type(gc) | type(clone)):
            continue
        found.add(id(value))
        if isinstance(value, Tensor):
            storage = value.untyped_storage()
            tensors[storage.data_ptr()] = storage.nbytes()
        queue.extend(gc.get_referents(value))
    return sum(tensors.values())


@pytest.mark.parametrize("name", LARGE)
def test_an_estimator_holds_its_network_once(name):
    unfitted, networks = LARGE[name]
    target = TABLE[:, 0] > 0 if "Classifier" in name else TABLE[:, 0]
    large = clone(unfitted).fit(TABLE, target)
    size = sum(4 * p.numel() for m in networks(large) for p in m.parameters())
    written = len(pickle.dumps(large))
    assert size < written < 1.15 * size
    # A pickled estimator is as large as another.
    assert abs(len(pickle.dumps(pickled(large))) - written) < 2_000
    # In memory, too; a deep copy is without what was computed in float64 so far.
    assert size <= held_bytes(copy.deepcopy(large)) < 1.05 * size
    assert size <= held_bytes(pickled(large)) < 1.05 * size


@pytest.mark.parametrize("trained_on", ["warm_start", "partial_fit"])
def test_moments_are_kept_where_training_goes_on(trained_on):
    large = clone(WIDE).set_params(warm_start=trained_on == "warm_start").fit(TABLE)
    if trained_on == "partial_fit":
        large.partial_fit(TABLE)
    size = sum(4 * p.numel() for p in large.module_.parameters())
    assert 3 * size < len(pickle.dumps(large)) < 3.15 * size
    # A fit from the start drops them.
    large.set_params(warm_start=False).fit(TABLE)
    assert len(pickle.dumps(large)) < 1.15 * size


@pytest.mark.parametrize("name", ["transformer", "classifier", "regressor"])
def test_training_goes_on_from_the_fitted_weights(name):
    estimator = copy.deepcopy(fitted(name))
    others = [pickled(estimator), copy.deepcopy(estimator)]
    for _ in range(2):
        estimator.partial_fit(X[:30], Y[:30])
        for other in others:
            assert_same_results(other.partial_fit(X[:30], Y[:30]), estimator)
    # One pass at a low rate: not far from where it was.
    before, after = fitted(name).transform(X), estimator.transform(X)
    assert 0 < np.abs(after - before).max() < 0.2 * np.abs(before).max()


def n_steps(estimator):
    """Steps that the optimiser's moments are of."""
    return int(estimator._moments.state["step"])


def test_moments_go_on_after_a_pickle():
    ae = transformer(**SMALL, tol=0, warm_start=True).fit(X)
    first = n_steps(ae)
    assert n_steps(pickled(ae).fit(X)) == n_steps(ae.fit(X)) == 2 * first
    tuned = clone(ESTIMATORS["classifier"]).partial_fit(X, Y)
    first = n_steps(tuned)
    assert n_steps(pickled(tuned).partial_fit(X, Y)) == 2 * first
    # Other layers have other moments.
    tuned.set_params(fine_tune=1)
    assert n_steps(tuned.partial_fit(X, Y)) == first


def test_moments_of_another_optimiser_are_left():
    ae = transformer(**SMALL, warm_start=True).fit(X)
    ae.set_params(net_params={"optimizer": torch.optim.SGD}).fit(X)
    assert np.isfinite(ae.transform(X)).all()


# -- mapped files and read-only rows -----------------------------------------------


@pytest.fixture
def every_warning():
    """Each of torch's warnings, and not the first of a kind alone."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


@every_estimator
def test_a_mapped_file_is_read_and_not_written(name, tmp_path, every_warning):
    path = tmp_path / "estimator"
    joblib.dump(fitted(name), path)
    written = path.read_bytes()
    mapped, original = joblib.load(path, mmap_mode="r"), copy.deepcopy(fitted(name))
    assert_same_results(mapped, original)
    assert_same_results(mapped, original, X.astype(np.float32))
    assert_same_results(pickled(mapped), original)
    for method in ("partial_fit", "fit"):
        if hasattr(mapped, method):
            getattr(mapped, method)(X, Y)
            assert_same_results(mapped, getattr(original, method)(X, Y))
    assert path.read_bytes() == written


@every_estimator
def test_rows_may_be_read_only(name, every_warning):
    table, target = X.copy(), Y.copy()
    table.flags.writeable = target.flags.writeable = False
    estimator = clone(ESTIMATORS[name]).fit(table, target)
    if "trained on" in name:
        estimator.partial_fit(table, target)
    assert_same_results(estimator, fitted(name), table)
    weight = np.ones(len(table))
    weight.flags.writeable = False
    clone(ESTIMATORS[name]).fit(table, target, sample_weight=weight)


# -- threads -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["transformer", "user's networks", "classifier"])
def test_the_first_calls_after_a_load_may_come_from_many_threads(name, monkeypatch):
    barrier, made = Barrier(8), []
    estimator = pickled(fitted(name))
    tables = [X, X.astype(np.float32)]
    expected = [fitted(name).transform(table) for table in tables]
    parts_for = FittedAutoencoder._parts_for

    def all_at_once(self, dtype):
        barrier.wait(10)
        parts = parts_for(self, dtype)
        made.append((dtype, parts))
        return parts

    monkeypatch.setattr(FittedAutoencoder, "_parts_for", all_at_once)
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(estimator.transform, 4 * tables))
    for i, code in enumerate(codes):
        np.testing.assert_array_equal(code, expected[i % 2])
    for dtype in (np.float64, np.float32):
        # All threads use the same copy.
        assert len({id(parts) for kind, parts in made if kind == dtype}) == 1


if __name__ == "__main__":
    PRIVATE_STATE.write_text(json.dumps(private_state(), indent=1) + "\n")
