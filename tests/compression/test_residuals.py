from functools import partial

import numpy as np
import pytest
from scipy.stats import norm

from sklearn_ae.compression._entropy_coding import SymbolModels, pack_varints
from sklearn_ae.compression._residuals import ResidualGrid
from tests.helpers import memory_until_refused

RNG = np.random.default_rng(0)
FACTORS = RNG.normal(size=(3_000, 2))
X = FACTORS @ RNG.normal(size=(2, 4)) + 0.1 * RNG.normal(size=(3_000, 4))
X_HAT = X + 0.1 * RNG.normal(size=X.shape)
X[:, 3] = np.rint(50 * X[:, 3])
X_HAT[:, 3] *= 50
WHOLE = np.array([False, False, False, True])
STRANGE = [0.0, -0.0, 0.5, -0.5, 1.5, 2.5, 1e12, -1e12, 1e12 + 0.5, 1e-300, -7e-9]


def fitted(bound=0.01, table=X, predicted=X_HAT, is_integer=WHOLE):
    return ResidualGrid(bound).fit(table, predicted, is_integer)


def spread(table, *, size, seed=0):
    """Predictions with a relative error of up to ``size``."""
    off = np.random.default_rng(seed).uniform(-size, size, table.shape)
    return table * (1 + off)


@pytest.mark.parametrize("n", [0, 1, 1_000])
@pytest.mark.parametrize("bound", [1e-6, 0.01, 0.5, 3.7])
def test_cells_come_back_within_the_bound(n, bound):
    grid = fitted(bound)
    payload = grid.encode(X[:n], X_HAT[:n])
    assert payload == grid.encode(X[:n], X_HAT[:n])
    decoded = grid.decode(payload, X_HAT[:n])
    assert decoded.dtype == np.float64
    assert decoded.shape == (n, 4)
    error = np.abs(decoded - X[:n])
    assert (error <= bound).all()
    # Whole numbers stay whole, and exact where the bound allows for no other one.
    assert (error[:, 3] <= np.floor(bound)).all()
    np.testing.assert_array_equal(decoded[:, 3], np.rint(decoded[:, 3]))
    if n == 1_000:
        # The steps are as wide as may be.
        assert error[:, :3].max() > 0.99 * bound
        assert error[:, 3].max() == np.floor(bound)


def test_whole_numbers_are_exact_at_a_bound_of_zero():
    for dtype in (np.float64, np.float32, np.int64, np.int8, np.uint8):
        low, high = (0, 255) if dtype is np.uint8 else (-128, 127)
        rows = np.random.default_rng(1).integers(low, high, (500, 2), endpoint=True)
        rows = rows.astype(dtype)
        predicted = rows + np.random.default_rng(2).normal(0, 3, rows.shape)
        grid = ResidualGrid(0).fit(rows, predicted, True)
        decoded = grid.decode(grid.encode(rows, predicted), predicted)
        np.testing.assert_array_equal(decoded, rows)


@pytest.mark.parametrize("bound", [1e-3, 0.25, 0.5, 1.0, 7.0, 1e5, 1e300])
@pytest.mark.parametrize("is_integer", [False, True])
@pytest.mark.parametrize("among_training", [False, True])
def test_strange_cells_are_within_the_bound(bound, is_integer, among_training):
    rng = np.random.default_rng(1)
    halves = bound * np.r_[0.5, 1, 1.5, 2, -3, 1 + 1e-15, 1 - 1e-15, 2**20 + 0.5]
    rows = np.array([*STRANGE, *halves])
    if is_integer:
        rows = np.rint(rows)
    rows = rng.permuted(np.tile(rows[:, None], (20, 2)), axis=0)
    tame = np.rint(rng.normal(0, 10, (500, 2)))
    train = np.r_[tame, rows] if among_training else tame
    grid = fitted(bound, train, train + 0.3, is_integer)
    for predicted in (rows, np.zeros_like(rows), -rows, rng.permuted(rows, axis=0)):
        decoded = grid.decode(grid.encode(rows, predicted), predicted)
        assert (np.abs(decoded - rows) <= bound).all()


@pytest.mark.parametrize(
    ("ratio", "dtype"),
    [
        *((ratio, np.float16) for ratio in (0.3, 0.5, 0.8, 1, 1.3, 1.75, 2.2, 8.7)),
        *((ratio, np.float32) for ratio in (0.3, 0.5, 0.8, 1, 1.3, 1.75, 2.2, 8.7)),
        *((ratio, np.float64) for ratio in (2.2, 4.75, 8.7, 100.2)),
    ],
)
def test_the_bound_holds_where_floats_are_as_far_apart(ratio, dtype):
    """And for cells rounded to their dtype, too."""
    rng = np.random.default_rng(2)
    rows = rng.normal(0, 1_000, (2_000, 2)).astype(dtype)
    bound = ratio * float(np.spacing(np.abs(rows).max()))
    predicted = rows + rng.normal(0, 10, rows.shape)
    grid = fitted(bound, rows, predicted, False)
    payload = grid.encode(rows, predicted)
    decoded = grid.decode(payload, predicted)
    exact = rows.astype(np.float64)
    assert (np.abs(decoded - exact) <= bound).all()
    assert (np.abs(decoded.astype(dtype).astype(float) - exact) <= bound).all()
    if ratio >= 0.5:
        # The step has room for the rounding: hardly a cell is given as it is.
        assert len(payload) < 1.03 * grid.bits(rows, predicted).sum() / 8 + 60


@pytest.mark.parametrize("bound", [1e-9, 1e-3, 0.5])
def test_predictions_of_another_machine_give_the_same_cells(bound):
    rng = np.random.default_rng(3)
    rows = np.rint(rng.normal(0, 1_000, (2_000, 3)))
    predicted = rows + rng.normal(0, 3, rows.shape)
    grid = fitted(bound, rows, predicted, False)
    # Many of the predictions lie on the very boundary of two steps.
    steps = grid._step * grid._prediction_step
    halves = (np.rint(predicted / steps) + 0.5) * steps
    some = rng.random(rows.shape) < 0.3
    predicted = np.where(some, halves, predicted)
    payload = grid.encode(rows, predicted)
    expected = grid.decode(payload, predicted)
    differs = 0
    for seed in range(10):
        other = spread(predicted, size=1e-12, seed=seed)
        np.testing.assert_array_equal(grid.decode(payload, other), expected)
        differs += (grid._predicted(other)[0] != grid._predicted(predicted)[0]).sum()
    # Without the list they would not have.
    assert differs > 100


def test_predictions_near_zero_are_off_by_what_their_terms_are():
    rows = np.random.default_rng(4).normal(0, 1e6, (1_000, 2))
    grid = fitted(1e-4, rows, rows, False)
    predicted = np.full_like(rows, grid._step * grid._prediction_step / 2)
    payload = grid.encode(rows, predicted)
    other = predicted + np.random.default_rng(5).uniform(-1e-6, 1e-6, rows.shape)
    expected = grid.decode(payload, predicted)
    np.testing.assert_array_equal(grid.decode(payload, other), expected)


def test_predictions_may_be_anything():
    rows = X[:60]
    odd = np.resize([np.nan, np.inf, -np.inf, 1e300, -1e300, 1.7e308, 1e15], rows.shape)
    grid = fitted()
    m, listed = grid._predicted(odd)
    assert listed[~np.isfinite(odd)].all()
    assert not m[~np.isfinite(odd)].any()
    # Nothing is predicted that is beyond all cells: there, nothing has to be listed.
    assert not listed[np.abs(odd) == 1e300].any()
    ends = np.rint(np.where(odd > 0, X.max(axis=0), X.min(axis=0)) / grid._step)
    np.testing.assert_array_equal(m[odd == 1e300], ends[odd == 1e300])
    payload = grid.encode(rows, odd)
    for again in (odd, np.where(np.isfinite(odd), odd, 5.0)):
        decoded = grid.decode(payload, again)
        assert (np.abs(decoded - rows) <= 0.01).all()
    # Fitted on such ones, too.
    grid = fitted(0.01, rows, odd)
    decoded = grid.decode(grid.encode(rows, odd), odd)
    assert (np.abs(decoded - rows) <= 0.01).all()


def test_good_predictions_make_short_payloads():
    good = len(fitted().encode(X, X_HAT))
    none = np.zeros_like(X)
    assert good < 0.8 * len(fitted(predicted=none).encode(X, none))
    # Its bits are all that it takes, but for the few bytes of its lists.
    grid = fitted()
    expected = grid.bits(X, X_HAT).sum() / 8
    assert expected <= good <= 1.001 * expected + 10


def test_good_predictions_help_at_a_bound_near_their_rounding_errors():
    rng = np.random.default_rng(6)
    rows = rng.normal(0, 100, (4_000, 1))
    predicted = rows + rng.normal(0, 1e-3, rows.shape)
    grid = fitted(1e-11, rows, predicted, False)
    assert grid._prediction_step > 1
    bits = 8 * len(grid.encode(rows, predicted)) / len(rows)
    # A bell's entropy, and what is lost to the bits in a bin and to the lists.
    assert bits < np.log2(1e-3 / 2e-11 * np.sqrt(2 * np.pi * np.e)) + 0.5


def test_one_cell_far_out_does_not_make_predictions_coarse():
    rows, predicted = X.copy(), X_HAT.copy()
    rows[0, 0] = predicted[0, 0] = 1e9
    grid = fitted(0.01, rows, predicted)
    assert grid.bits(X, X_HAT).mean() < fitted().bits(X, X_HAT).mean() + 0.1
    decoded = grid.decode(grid.encode(rows, predicted), predicted)
    assert (np.abs(decoded - rows) <= 0.01).all()


def test_a_constant_column_costs_nothing():
    rows = np.full((4_000, 3), 2.7)
    grid = fitted(0.01, rows, rows, False)
    assert len(grid.encode(rows, rows)) < 12


def test_every_column_has_its_bound():
    bounds = np.array([0.01, 1e-4, 0.3, 2.0])
    grid = fitted(bounds)
    error = np.abs(grid.decode(grid.encode(X, X_HAT), X_HAT) - X).max(axis=0)
    assert (error <= bounds).all()
    assert (error >= 0.9 * bounds).all()


def with_cell(value, dtype=np.float64):
    rows = np.zeros((3, 4), dtype)
    rows[1, 2] = value
    return rows


@pytest.mark.parametrize(
    ("bound", "rows", "message"),
    [
        (0, with_cell(0.5), "no whole number: give an error_bound above 0"),
        (0.01, with_cell(1e14), "too large for its error_bound: give one of"),
        (5e-324, with_cell(1e14), "too large for its error_bound: give one of"),
        (0.01, with_cell(np.nan), "no finite number: fill it"),
        (0.01, with_cell(-np.inf), "no finite number: fill it"),
        (0, with_cell(2**53 + 1, np.int64), r"beyond 2\*\*53: divide it"),
    ],
)
def test_what_has_no_place_on_the_grid_is_named(bound, rows, message):
    zeros = np.zeros((3, 4))
    grid = ResidualGrid(bound).fit(zeros, zeros, WHOLE)
    for call in (grid.encode, lambda *tables: fitted(bound, *tables)):
        with pytest.raises(ValueError, match=f"^Column 2 has .*{message}"):
            call(rows, zeros)


def test_fitting_needs_rows():
    with pytest.raises(ValueError, match="at least one row"):
        fitted(0.01, X[:0], X_HAT[:0])


@pytest.mark.parametrize("bound", [-1, np.nan, np.inf, 1e301, [0.1, 0.1, 0.1, -0.1]])
def test_a_bound_is_a_finite_number_of_zero_or_more(bound):
    with pytest.raises(ValueError, match="error_bound must be in"):
        fitted(bound)


def test_predictions_of_another_shape_or_model_are_refused():
    grid = fitted()
    payload = grid.encode(X[:9], X_HAT[:9])
    for wrong in (X_HAT[:9, :3], X_HAT[0], X_HAT[:8], X_HAT[:10]):
        with pytest.raises(ValueError, match=r"Predictions|payload"):
            grid.decode(payload, wrong)
    # No cell is so far from all predictions.
    far, contexts = (
        np.full((9, 4), 2**53),
        grid._contexts(grid._predicted(X_HAT[:9])[0]),
    )
    payload = pack_varints(np.zeros(2, int)) + grid._models.encode(far, contexts)
    with pytest.raises(ValueError, match="does not belong to these predictions"):
        grid.decode(payload, X_HAT[:9])


def saturated(n=6_000, seed=4):
    """Whole numbers of 0 to 16, many at the ends, and predictions: pixels, say."""
    rng = np.random.default_rng(seed)
    inner = rng.normal(8, 12, (n, 3))
    rows = np.clip(np.rint(inner + rng.normal(0, 1, inner.shape)), 0, 16)
    return rows, inner


def test_a_cell_costs_what_it_costs_where_its_prediction_is():
    rows, predicted = saturated()
    new, new_predicted = saturated(seed=5)
    grid = ResidualGrid(0.0).fit(rows, predicted, True)
    separate = grid.bits(new, new_predicted).mean()
    # The entropy, given the prediction: by the normal noise between the ends.
    edges = np.r_[-np.inf, np.arange(16) + 0.5, np.inf]
    shares = np.diff(norm.cdf(edges - new_predicted[:, :, None]), axis=2)
    entropy = -np.sum(shares * np.log2(np.maximum(shares, 1e-300)), axis=2)
    expected = entropy.sum(axis=1).mean()
    assert 0.98 * expected < separate < 1.35 * expected
    # Without ranges of predictions the ends would be as dear as the middle.
    flat = SymbolModels().fit(*_steps_off(grid, rows, predicted))
    assert separate < 0.8 * flat.bits(*_steps_off(grid, new, new_predicted)).mean()
    # Columns of one unit have their tables together: fewer of them, as good.
    common = ResidualGrid(0.0, share_tables=True).fit(rows, predicted, True)
    assert len(common._models._tables) < len(grid._models._tables) / 2
    assert common.bits(new, new_predicted).mean() < 1.01 * separate
    for one in (grid, common):
        payload = one.encode(new[:500], new_predicted[:500])
        decoded = one.decode(payload, new_predicted[:500])
        np.testing.assert_array_equal(decoded, new[:500])
        # The ideal lengths are what is paid, but for the lists.
        bits = one.bits(new[:500], new_predicted[:500]).sum()
        assert bits / 8 <= len(payload) < 1.01 * bits / 8 + 20


def _steps_off(grid, rows, predicted):
    return ((grid._grid(rows) - grid._predicted(predicted)[0]),)


def test_the_state_tells_grids_apart():
    grids = [fitted(), fitted(0.02), fitted(table=X + 9), fitted(is_integer=False)]
    assert len({grid.state() for grid in grids}) == 4
    assert fitted().state() == grids[0].state()
    # The same integers, but of other steps.
    doubled = fitted(0.02, 2 * X, 2 * X_HAT, is_integer=False)
    assert doubled._models.state() == grids[3]._models.state()
    assert doubled.state() != grids[3].state()
    halved = X[: len(X) // 2], X_HAT[: len(X) // 2]
    assert fitted(0.01, *halved).state() != grids[0].state()
    weight = np.arange(len(X)) < len(X) // 2
    weighted = ResidualGrid(0.01).fit(X, X_HAT, WHOLE, weight.astype(float))
    assert weighted._models.state() != grids[0]._models.state()


def test_more_cells_than_there_are_are_refused_before_they_take_memory():
    grid = fitted()
    numbers = b"\1" * 300_000
    for counts in ([100_000, 0], [0, 300_000], [37, 0], [2**55, 2**55]):
        forged = pack_varints(np.array(counts)) + numbers
        peak, said = memory_until_refused(partial(grid.decode, forged, X_HAT[:9]))
        assert "lists a cell that is not there" in said
        assert peak < 1e5


@pytest.mark.parametrize("gaps", [[0], [37], [5, 0], [20, 17], [2**56 - 1] * 255])
def test_a_list_of_cells_that_are_not_there_is_refused(gaps):
    grid = fitted()
    rows, predicted = X[:9], X_HAT[:9]
    payload = grid.encode(rows, predicted)
    assert payload[:2] == b"\0\0"
    n = len(gaps)
    listed = pack_varints(np.array([n, 0, *gaps, *[0] * n])) + payload[2:]
    given = pack_varints(np.array([0, n, *gaps])) + bytes(8 * n) + payload[2:]
    for wrong in (listed, given):
        with pytest.raises(ValueError, match="lists a cell that is not there"):
            grid.decode(wrong, predicted)
    # The last one is there.
    grid.decode(pack_varints(np.array([0, 1, 36])) + bytes(8) + payload[2:], predicted)
