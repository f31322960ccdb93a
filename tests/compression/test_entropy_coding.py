import numpy as np
import pytest

from sklearn_ae.compression._entropy_coding import (
    MAX_SYMBOL,
    SymbolModels,
    decode_bits,
    encode_bits,
    pack_varints,
    unpack_varints,
)
from tests.helpers import memory_until_refused


def columns(n, seed=0):
    """Columns of many kinds: bells, tails, wide ones, mostly zeros, constants."""
    rng = np.random.default_rng(seed)
    return np.stack(
        [
            rng.normal(0, 30, n),
            rng.laplace(-7, 3, n),
            np.full(n, 7),
            rng.normal(3e9, 1e6, n),
            np.clip(10 * rng.standard_cauchy(n), -1e15, 1e15),
            np.where(rng.random(n) < 0.9, 0, rng.normal(0, 1e9, n)),
            rng.integers(0, 2, n),
        ],
        axis=1,
    ).astype(np.int64)


@pytest.fixture(scope="module")
def models():
    return SymbolModels().fit(columns(8_000))


def strange(n=40):
    """Rows whose every cell is beyond the tables, on both sides."""
    ends = [-MAX_SYMBOL, MAX_SYMBOL, -(10**15), 10**15, 12_345_678]
    return np.resize(ends, (n, 7))


@pytest.mark.parametrize(
    "rows", [columns(4_096, 1), columns(1, 2), columns(0), strange(), -columns(50, 3)]
)
def test_rows_come_back_whatever_they_are(models, rows):
    payload = models.encode(rows)
    assert isinstance(payload, bytes)
    assert payload == models.encode(rows)
    for like in (bytes, bytearray, memoryview):
        decoded = models.decode(like(payload), len(rows))
        np.testing.assert_array_equal(decoded, rows)
        assert decoded.dtype == np.int64


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((5, 0), np.int64),
        np.array([[MAX_SYMBOL], [-MAX_SYMBOL]]),
        np.full((1, 2), 3),
        np.array([[2**40 * i] for i in range(-99, 99)]),
        np.arange(10_000)[:, None] ** 3,
    ],
)
def test_tables_of_every_shape_come_back(rows):
    models = SymbolModels().fit(rows)
    decoded = models.decode(models.encode(rows), len(rows))
    np.testing.assert_array_equal(decoded, rows)
    for table in models._tables:
        assert len(table.frequencies) <= 4_097


def test_a_payload_has_the_size_of_its_bits(models):
    rows = columns(4_096, 1)
    expected = models.bits(rows).sum() / 8
    size = len(models.encode(rows))
    assert expected <= size <= 1.0005 * expected + 8
    # The coder takes the very frequencies that bits() counts with, column by column.
    for j in range(rows.shape[1]):
        one = SymbolModels().fit(columns(8_000)[:, [j]])
        expected = one.bits(rows[:, [j]]).sum() / 8
        assert expected <= len(one.encode(rows[:, [j]])) <= 1.0005 * expected + 8
    # Escapes are counted, too.
    expected = models.bits(strange()).sum() / 8
    assert expected <= len(models.encode(strange())) <= 1.0005 * expected + 8


def test_code_lengths_are_those_of_a_probability(models):
    for table in models._tables:
        assert table.frequencies.sum() == 2**24
        assert table.frequencies.min() >= 1
    one = SymbolModels().fit(columns(8_000)[:, :1])
    every = one._tables[0].low + np.arange(one._tables[0].escape)
    share = (2.0 ** -one.bits(every[:, None])).sum()
    escape = one._tables[0].frequencies[-1] / 2**24
    np.testing.assert_allclose(share, 1 - escape, rtol=1e-9)


@pytest.mark.parametrize(
    ("draw", "bits"),
    [
        (lambda rng, n: rng.normal(0, 30, n), np.log2(30 * np.sqrt(2 * np.pi * np.e))),
        (lambda rng, n: rng.laplace(0, 20, n), np.log2(2 * np.e * 20)),
        (lambda rng, n: rng.normal(0, 1e6, n), np.log2(1e6 * 4.132731)),
        (lambda rng, n: 9 * (rng.random(n) < 0.1), 0.468996),
        (lambda rng, n: rng.integers(0, 1_000, n), np.log2(1_000)),
    ],
)
def test_new_rows_cost_little_more_than_the_entropy(draw, bits):
    rng = np.random.default_rng(0)
    for n, slack in ((200, 0.35), (20_000, 0.05)):
        train, new = (np.rint(draw(rng, m)) for m in (n, 20_000))
        models = SymbolModels().fit(train[:, None].astype(np.int64))
        got = models.bits(new[:, None].astype(np.int64)).mean()
        # Less only by chance: four standard errors of a mean of 20,000.
        assert bits - 0.06 < got < bits + slack


def test_few_rows_are_smoothed_by_the_shape_that_they_have():
    rng = np.random.default_rng(0)
    train = np.rint(rng.normal(0, 100, (100, 1))).astype(np.int64)
    new = np.rint(rng.normal(0, 100, (5_000, 1))).astype(np.int64)
    entropy = np.log2(100 * np.sqrt(2 * np.pi * np.e))
    # Counts and one for each of 700 bins would cost more than 9.2 bits.
    assert SymbolModels().fit(train).bits(new).mean() < entropy + 0.3


def test_values_far_out_do_not_make_the_frequent_ones_dear():
    models = SymbolModels().fit(columns(8_000)[:, 5:6])
    new = columns(4_096, 1)[:, 5:6]
    # 0.47 bits for which are zero, and 32 for one in ten.
    assert models.bits(new).mean() < 5
    assert models.bits(np.zeros((1, 1), np.int64))[0] < 0.2


def test_a_constant_column_costs_nothing_however_many_rows():
    for n, slack in ((8_000, 2e-4), (100, 0.01)):
        rows = np.full((n, 3), -(10**12))
        models = SymbolModels().fit(rows)
        assert models.bits(rows[:1])[0] < 3 * slack
        assert len(models.encode(rows[:4_000])) <= 9 + n * 3 * slack


def test_a_row_counts_as_much_as_its_weight():
    rows = columns(6_000)[:, [0, 6]]
    weight = np.where(rows[:, 1] == 1, 3.0, 1.0)
    weighted = SymbolModels().fit(rows, weight)
    share = weight[rows[:, 1] == 1].sum() / weight.sum()
    ones = np.array([[0, 1], [0, 0]])
    bits = weighted.bits(ones)
    assert bits[1] - bits[0] == pytest.approx(np.log2(share / (1 - share)), abs=0.01)
    # Only ratios matter, and rows of weight 0 are not there.
    assert SymbolModels().fit(rows, 8 * weight).state() == weighted.state()
    more = np.r_[rows, strange()[:, :2]], np.r_[weight, np.zeros(40)]
    assert SymbolModels().fit(*more).state() == weighted.state()


def test_the_state_tells_models_apart(models):
    assert models.state() == SymbolModels().fit(columns(8_000)).state()
    states = [models.state(), SymbolModels().fit(columns(8_000)[:, :6]).state()]
    for j in range(7):
        rows = columns(8_000)
        rows[:, j] = 3 * rows[::-1, j] + 1
        states.append(SymbolModels().fit(rows).state())
    assert len(set(states)) == 9


def test_what_is_no_table_of_such_integers_is_refused(models):
    for wrong in (columns(5) + 0.5, columns(5)[:, 0], columns(5) + (MAX_SYMBOL + 1)):
        with pytest.raises(ValueError, match="Symbols must"):
            SymbolModels().fit(wrong)
    with pytest.raises(ValueError, match="positive weight"):
        SymbolModels().fit(columns(0))
    with pytest.raises(ValueError, match="positive weight"):
        SymbolModels().fit(columns(2), np.zeros(2))
    with pytest.raises(ValueError, match="6 columns, 7 were fitted"):
        models.encode(columns(5)[:, :6])


def test_a_payload_must_be_used_up(models):
    rows = columns(300, 1)
    payload = models.encode(rows)
    for wrong in (payload + bytes(4), payload + b"abcd", payload[:-4], payload[:-1]):
        with pytest.raises(ValueError, match="payload"):
            models.decode(wrong, 300)
    for n in (0, 299, 301, 4_096):
        with pytest.raises(ValueError, match="payload"):
            models.decode(payload, n)
    with pytest.raises(ValueError, match="payload"):
        models.decode(b"", 0)


def test_more_escapes_than_cells_are_refused_before_they_take_memory(models):
    escapes, payload = b"\1" * 100_000, models.encode(columns(3))
    assert payload[:1] == b"\0"
    forged = pack_varints(np.array([len(escapes)])) + escapes + payload[1:]
    peak, said = memory_until_refused(lambda: models.decode(forged, 3))
    assert "more values beyond tables than cells" in said
    # As integers they would take 0.8 MB.
    assert peak < 4e5


@pytest.mark.parametrize("share", [0, 1e-3, 0.3, 1])
@pytest.mark.parametrize("n", [0, 1, 10_000])
def test_bits_come_back_at_their_entropy(share, n):
    bits = np.random.default_rng(0).random(n) < share
    packed = encode_bits(bits)
    np.testing.assert_array_equal(decode_bits(memoryview(packed), n), bits)
    p = np.clip(bits.mean() if n else 0, 1e-12, 1 - 1e-12)
    entropy = -n * (p * np.log2(p) + (1 - p) * np.log2(1 - p))
    assert len(packed) <= 1.01 * entropy / 8 + 12


def test_bits_of_another_number_are_refused():
    bits = np.arange(200) % 3 == 0
    packed = encode_bits(bits)
    for wrong in (packed[:-4], packed + bytes(4), b"\1" + packed[1:], b"\xff" * 9):
        with pytest.raises(ValueError, match="payload"):
            decode_bits(wrong, 200)
    with pytest.raises(ValueError, match="payload"):
        decode_bits(packed, 50)


class PanicException(BaseException):
    """Stand-in for the class of Rust's panics."""


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (PanicException, ValueError),
        (AssertionError, ValueError),
        (KeyboardInterrupt, KeyboardInterrupt),
        (MemoryError, MemoryError),
    ],
)
def test_a_panic_is_an_error_and_an_interrupt_stays_one(
    models, monkeypatch, raised, expected
):
    def decoder(words):
        raise raised

    payload = models.encode(columns(3))
    monkeypatch.setattr("constriction.stream.queue.RangeDecoder", decoder)
    with pytest.raises(expected):
        models.decode(payload, 3)


def test_varints_come_back():
    values = np.r_[0, 2 ** np.arange(56), 2 ** np.arange(1, 57) - 1]
    packed = pack_varints(values)
    assert len(packed) == sum(max(1, -(-int(v).bit_length() // 7)) for v in values)
    got, used = unpack_varints(packed + b"more", len(values))
    np.testing.assert_array_equal(got, values)
    assert used == len(packed)
    for wrong, count in ((b"\x80", 1), (b"\x80" * 8 + b"\x01", 1), (b"\x01", 2)):
        with pytest.raises(ValueError, match="damaged integer"):
            unpack_varints(wrong, count)
