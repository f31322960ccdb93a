"""Range coding of integers, with a table of frequencies for each context."""

import numpy as np

MAX_SYMBOL = 2**53  # float64 holds all integers up to it.
_MAX_BINS_PER_TABLE = 4_096
_FREQUENCY_TOTAL = 2**24  # constriction's probabilities have 24 bits.
_MAX_VARINT_BYTES = 8


class SymbolModels:
    """Frequency tables of integers, one for each context, for constriction's coder.

    A cell's context is its column, or is computed from what is decoded before it. The
    integers of a context fall into at most 4,096 bins of 2**shift integers each, and
    those beyond into one more, the escape. A bin's frequency is that of its training
    cells, smoothed towards a normal, a Laplace, a Cauchy or a uniform distribution. The
    distribution and the amount are chosen by the leave-one-out code length of the
    training cells, the bins' width by their code length. The place in a bin is coded by
    shift bits, and an escaped bin by its distance from the table.

    References
    ----------
    Martin, G. N. N. (1979). Range encoding: an algorithm for removing redundancy from a
    digitised message. Video & Data Recording Conference.

    Bamler, R. (2022). Understanding entropy coding with asymmetric numeral systems
    (ANS): a statistician's perspective. arXiv:2201.01741.
    """

    def fit(self, symbols, weight=None, context=None):
        """Estimate the tables of frequencies.

        Parameters
        ----------
        symbols : ndarray of shape (n, k), int64
            In [-2**53, 2**53].
        weight : ndarray of shape (n,), float64, default=None
            Weights of the rows; only their ratios matter.
        context : ndarray of shape (n, k), int64, default=None
            Contexts of the cells, numbered from 0 without gaps. None is the column.

        Returns
        -------
        self : SymbolModels

        Raises
        ------
        ValueError
            Without rows of positive weight, or for other symbols.
        """
        symbols = _checked(symbols)
        weight = np.ones(len(symbols)) if weight is None else np.asarray(weight, float)
        used = weight > 0
        if not used.any():
            raise ValueError("Frequencies of symbols need a row of positive weight.")
        weight = weight[used] / weight[used].mean()
        self._width = symbols.shape[1]
        groups = _Groups(None if context is None else context[used], self._width)
        weight = np.broadcast_to(weight[:, None], (len(weight), self._width))
        each = zip(groups.of(symbols[used]), groups.of(weight), strict=True)
        self._tables = [_Table.best(*pair) for pair in each]
        return self

    def bits(self, symbols, context=None):
        """Return code lengths (n,), float64, of rows (n, k) in bits, with escapes."""
        symbols = self._checked(symbols)
        groups = self._groups(context)
        each = zip(self._tables, groups.of(symbols), strict=True)
        bits = [np.zeros(0), *(table.bits(group) for table, group in each)]
        return groups.back(np.concatenate(bits), len(symbols)).sum(axis=1)

    def encode(self, symbols, context=None):
        """Encode a block of rows (n, k) as bytes.

        Raises
        ------
        ValueError
            For symbols of another shape or beyond 2**53.
        ImportError
            Without constriction.
        """
        groups = self._groups(context).of(self._checked(symbols))
        return self._encode(groups, self._models())

    def decode(self, payload, n, context=None):
        """Decode a payload of ``encode`` to n rows (n, k), int64.

        Raises
        ------
        ValueError
            If ``encode`` of no n rows gives this payload.
        ImportError
            Without constriction.
        """
        models, payload = self._models(), bytes(payload)
        groups = self._groups(context)
        decoded = self._decode(payload, groups.sizes(n), models)
        # The coder does not notice a few bits too many or too few; encoding again does.
        checked = [_checked(group[:, None])[:, 0] for group in decoded]
        if self._encode(checked, models) != payload:
            raise ValueError(f"The payload is not that of {n} rows of this model.")
        return groups.back(_joined(decoded, np.int64), n)

    def state(self):
        """Return all that decoding depends on, as bytes alike on every machine."""
        sizes = [[t.low, t.shift, len(t.frequencies)] for t in self._tables]
        sizes = np.array(sizes, "<i8").reshape(-1, 3)
        return b"".join(
            [
                len(sizes).to_bytes(8, "little"),
                sizes.tobytes(),
                *(t.frequencies.astype("<u4").tobytes() for t in self._tables),
            ]
        )

    def _checked(self, symbols):
        symbols = _checked(symbols)
        if symbols.shape[1] != self._width:
            raise ValueError(
                f"Symbols have {symbols.shape[1]} columns, {self._width} were fitted."
            )
        return symbols

    def _groups(self, context):
        return _Groups(context, self._width, len(self._tables))

    def _models(self):
        return [_categorical(t.frequencies) for t in self._tables]

    def _encode(self, groups, models):
        encoder = require_constriction().queue.RangeEncoder()
        beyond, places = [], []
        for table, model, group in zip(self._tables, models, groups, strict=True):
            index, escaped = table.index(group >> table.shift)
            encoder.encode(index.astype(np.int32), model)
            beyond.append(escaped)
            places.append(_to_bits(group, table.shift))
        escapes = pack_varints(_joined(beyond, np.int64))
        places = np.packbits(_joined(places, np.uint8)).tobytes()
        size = pack_varints(np.array([len(escapes)]))
        return size + escapes + places + _words(encoder)

    def _decode(self, payload, sizes, models):
        escapes, places, words = self._sections(payload, sizes)
        indices = _decode_words(words, sizes, models)
        groups = []
        for table, index, n in zip(self._tables, indices, sizes, strict=True):
            beyond = index == table.escape
            many = int(beyond.sum())
            bins, escapes = table.bins(index, beyond, escapes[:many]), escapes[many:]
            place, places = places[: n * table.shift], places[n * table.shift :]
            groups.append((bins << table.shift) + _from_bits(place, n, table.shift))
        return groups

    def _sections(self, payload, sizes):
        """Split a payload into escapes' distances, bits of places and coder's words."""
        size, start = unpack_varints(payload, 1)
        end = start + int(size[0])
        shifts = (t.shift for t in self._tables)
        n_bits = sum(n * shift for n, shift in zip(sizes, shifts, strict=True))
        last = end + -(-n_bits // 8)
        if last > len(payload) or (len(payload) - last) % 4:
            raise ValueError("The payload is cut off.")
        section = payload[start:end]
        n_escapes = int((np.frombuffer(section, np.uint8) < 128).sum())
        if n_escapes > sum(sizes):
            raise ValueError("The payload has more values beyond tables than cells.")
        escapes, _ = unpack_varints(section, n_escapes)
        places = np.unpackbits(np.frombuffer(payload[end:last], np.uint8), count=n_bits)
        return escapes, places, payload[last:]


class _Groups:
    """Cells of a table (n, width) by context, each group in the order of the rows."""

    def __init__(self, context, width, n_groups=None):
        self.context, self.width = context, width
        if context is not None:
            flat = context.ravel()
            self.order = np.argsort(flat, kind="stable")
            self.counts = np.bincount(flat, minlength=n_groups or 0).tolist()

    def of(self, table):
        """Return the groups of a table's cells, a list of arrays (m,)."""
        if self.context is None:
            return list(table.T)
        return np.split(table.ravel()[self.order], np.cumsum(self.counts)[:-1])

    def sizes(self, n):
        """Return the number of cells of each group in n rows."""
        return [n] * self.width if self.context is None else self.counts

    def back(self, joined, n):
        """Return the table (n, width) of concatenated groups."""
        if self.context is None:
            return joined.reshape(self.width, n).T
        table = np.empty_like(joined)
        table[self.order] = joined
        return table.reshape(n, self.width)


class _Table:
    """Frequencies of bins of 2**shift integers from low on; the last is the escape."""

    def __init__(self, low, shift, frequencies):
        self.low, self.shift, self.frequencies = low, shift, frequencies
        self.escape = len(frequencies) - 1

    @classmethod
    def best(cls, column, weight):
        """Fit a table with the width of bins that has the shortest code length."""
        order = np.argsort(column, kind="stable")
        column, weight = column[order], weight[order]
        # For speed the width is chosen on a sample, evenly spaced in rank.
        n_sampled = min(len(column), 2**14)
        few = np.linspace(0, len(column) - 1, n_sampled).astype(int)
        widest = max(int(column[-1] - column[0]).bit_length() - 12, 0)
        shifts = {*range(0, widest, 2), widest}
        if len(shifts) > 1:
            tried = [cls.of(column[few], weight[few], s) for s in sorted(shifts)]
            costs = [t.bits(column[few]) @ weight[few] for t in tried]
            shifts = {tried[int(np.argmin(costs))].shift}
        return cls.of(column, weight, *shifts)

    @classmethod
    def of(cls, column, weight, shift):
        """Fit a table to a column in ascending order."""
        bins = column >> shift
        low, high = _window(bins)
        inside = (bins >= low) & (bins <= high)
        place, weight_inside = bins[inside] - low, weight[inside]
        n_bins = int(high - low) + 1
        counts = np.bincount(place, weight_inside, n_bins)
        squares = np.bincount(place, weight_inside**2, n_bins)
        missed = float(weight.sum() - weight_inside.sum())
        # Krichevsky-Trofimov estimator.
        escape = (missed + 0.5) / (weight.sum() + 1)
        return cls(int(low), shift, _whole(_smoothed(counts, squares), escape))

    def index(self, bins):
        """Return places (n,) of bins in the table, and distances of those beyond it.

        A distance is from the table's nearest end, times two, plus one if below.
        """
        high = self.low + self.escape - 1
        above, below = bins - high - 1, self.low - 1 - bins
        beyond = (above >= 0) | (below >= 0)
        distance = np.where(above >= 0, 2 * above, 2 * below + 1)
        return np.where(beyond, self.escape, bins - self.low), distance[beyond]

    def bins(self, index, beyond, distance):
        """Return bins (n,) of places in the table and of distances beyond it."""
        if len(distance) < beyond.sum():
            raise ValueError("The payload lacks values beyond the table.")
        bins, far = self.low + index.astype(np.int64), distance >> 1
        high = self.low + self.escape - 1
        bins[beyond] = np.where(distance & 1, self.low - 1 - far, high + 1 + far)
        return bins

    def bits(self, column):
        """Return code lengths (n,), float64, of integers (n,) in bits."""
        index, distance = self.index(column >> self.shift)
        bits = self.shift - np.log2(self.frequencies[index] / _FREQUENCY_TOTAL)
        bits[index == self.escape] += 8 * _n_bytes(distance)
        return bits


def _checked(symbols):
    symbols = np.asarray(symbols)
    if symbols.ndim != 2 or symbols.dtype.kind not in "iu":
        raise ValueError("Symbols must be a table of integers.")
    if symbols.size and (symbols.min() < -MAX_SYMBOL or symbols.max() > MAX_SYMBOL):
        raise ValueError("Symbols must lie in [-2**53, 2**53].")
    return symbols.astype(np.int64)


def _window(bins):
    """Return the first and last bin: of all cells, or the window of most cells."""
    first, last = bins[0], bins[-1]
    if last - first < _MAX_BINS_PER_TABLE:
        # New rows may lie a little outside the range of the training rows.
        margin = min((last - first) // 8, (_MAX_BINS_PER_TABLE - 1 - last + first) // 2)
        return first - margin, last + margin
    ends = np.searchsorted(bins, bins + _MAX_BINS_PER_TABLE, side="left")
    start = int(np.argmax(ends - np.arange(len(bins))))
    return bins[start], bins[ends[start] - 1]


def _smoothed(counts, squares):
    """Return probabilities (n_bins,) from sums of cells' weights and squared weights.

    They are the normalised counts plus an amount of a smooth distribution; both are
    chosen by the mean leave-one-out code length.
    """
    total = counts.sum()
    cell_weight = squares / np.maximum(counts, np.finfo(float).tiny)
    others, used = np.maximum(counts - cell_weight, 0), counts > 0
    best, chosen = np.inf, None
    for shape in _shapes(counts / total):
        for amount in (0.5, 4.0, 32.0, 256.0, 2048.0, 16384.0):
            left = np.maximum(total - cell_weight[used], 0) + amount
            held_out = (others[used] + amount * shape[used]) / left
            cost = -counts[used] @ np.log2(held_out)
            if cost < best:
                best, chosen = cost, (counts + amount * shape) / (total + amount)
    return chosen


def _shapes(share):
    """Return uniform, normal, Laplace and Cauchy probabilities, fitted to shares."""
    places = np.arange(len(share))
    mean, median = share @ places, np.searchsorted(np.cumsum(share), 0.5)
    away = np.abs(places - median)
    order = np.argsort(away, kind="stable")
    half = away[order][np.searchsorted(np.cumsum(share[order]), 0.5 - 1e-9)]
    spread = np.maximum(
        [np.sqrt(share @ (places - mean) ** 2), share @ away, half], 0.3
    )
    shapes = [
        np.exp(-(((places - mean) / spread[0]) ** 2) / 2),
        np.exp(-away / spread[1]),
        1 / (1 + (away / spread[2]) ** 2),
    ]
    flat = np.ones(len(share)) / len(share)
    # No bin's probability may be zero, however far out.
    return [flat, *(0.99 * s / s.sum() + 0.01 * flat for s in shapes)]


def _whole(share, escape):
    """Return frequencies (n_bins + 1,), int64, 1 or more, that sum to 2**24."""
    p = np.append(share / share.sum() * (1 - escape), escape)
    frequencies = 1 + np.floor(p * (_FREQUENCY_TOTAL - len(p))).astype(np.int64)
    frequencies[np.argmax(frequencies)] += _FREQUENCY_TOTAL - frequencies.sum()
    return frequencies


def require_constriction():
    """Return ``constriction.stream``; ImportError names the extra without it."""
    try:
        from constriction import stream
    except ImportError as error:
        raise ImportError(
            'Compression needs constriction: pip install "sklearn-ae[compression]".'
        ) from error
    return stream


def _categorical(frequencies):
    # Each symbol gets one unit and its share of the others: these are whole, so what is
    # coded with is the table itself, on every machine.
    model = require_constriction().model
    return model.Categorical(frequencies - 1.0, perfect=False)


def _words(encoder):
    return encoder.get_compressed().astype("<u4").tobytes()


def _decode_words(words, sizes, models):
    """Decode the places in their tables, a list of (m,) int32, of each context."""
    words = np.frombuffer(words, "<u4").astype(np.uint32)
    try:
        decoder = require_constriction().queue.RangeDecoder(words)
        return [decoder.decode(m, n) for m, n in zip(models, sizes, strict=True)]
    except BaseException as error:
        # A Rust panic derives from BaseException, and its class is not public.
        panic = type(error).__name__ == "PanicException"
        if panic or isinstance(error, (AssertionError, ValueError)):
            raise ValueError("The payload cannot be decoded.") from error
        raise


def encode_bits(bits):
    """Encode bits (n,), bool, as bytes: their sum, and each at its entropy."""
    encoder = require_constriction().queue.RangeEncoder()
    encoder.encode(bits.astype(np.int32), _binary(int(bits.sum()), len(bits)))
    return pack_varints(np.array([bits.sum()])) + _words(encoder)


def decode_bits(payload, n):
    """Decode a payload of ``encode_bits`` to bits (n,), bool; ValueError for others."""
    (n_ones,), start = unpack_varints(payload, 1)
    words = payload[start:]
    if n_ones > n or len(words) % 4:
        raise ValueError("The payload has a damaged list of bits.")
    (bits,) = _decode_words(words, [n], [_binary(int(n_ones), n)])
    if encode_bits(bits > 0) != bytes(payload):
        raise ValueError(f"The payload is not that of {n} bits.")
    return bits > 0


def _binary(n_ones, n):
    """Return the model of bits of which n_ones in n are ones."""
    ones = max(1, min(_FREQUENCY_TOTAL * n_ones // max(n, 1), _FREQUENCY_TOTAL - 1))
    return _categorical(np.array([_FREQUENCY_TOTAL - ones, ones]))


def _joined(parts, dtype):
    return np.concatenate([np.empty(0, dtype), *parts])


def _to_bits(column, shift):
    """Return the lowest shift bits of integers, low bit first, (n * shift,) uint8."""
    return (column[:, None] >> np.arange(shift) & 1).astype(np.uint8).ravel()


def _from_bits(bits, n, shift):
    bits = bits.reshape(n, shift).astype(np.int64)
    return (bits << np.arange(shift)).sum(axis=1)


def _n_bytes(values):
    """Return the number of bytes of each varint."""
    return 1 + sum(
        (values >> 7 * i > 0).astype(int) for i in range(1, _MAX_VARINT_BYTES)
    )


def pack_varints(values):
    """Encode integers (n,) in [0, 2**56) as LEB128: seven bits a byte, low first."""
    size = _n_bytes(values)
    start = np.cumsum(size) - size
    packed = np.empty(int(size.sum()), np.uint8)
    for i in range(_MAX_VARINT_BYTES):
        long = size > i
        more = 128 * (size[long] > i + 1)
        packed[start[long] + i] = (values[long] >> 7 * i & 127) + more
    return packed.tobytes()


def unpack_varints(data, count):
    """Decode the first integers (count,), int64, and return the bytes they took.

    Raises
    ------
    ValueError
        If the bytes end before, or an integer takes more than 8.
    """
    data = np.frombuffer(data, np.uint8)[: _MAX_VARINT_BYTES * count]
    ends = np.flatnonzero(data < 128)[:count] + 1
    size = np.diff(ends, prepend=0)
    if len(ends) < count or (size > _MAX_VARINT_BYTES).any():
        raise ValueError("The payload has a damaged integer.")
    values = np.zeros(count, np.int64)
    for i in range(_MAX_VARINT_BYTES):
        long = size > i
        part = data[ends[long] - size[long] + i].astype(np.int64)
        values[long] |= (part & 127) << 7 * i
    return values, int(ends[-1]) if count else 0
