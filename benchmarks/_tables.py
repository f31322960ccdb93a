"""Tables, pictures and signals, as sources: name -> function that returns a `Table`."""

import gzip
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.utils import gen_batches

MIN_ROWS, MAX_ROWS, QUICK_ROWS = 12, 10_000, 500
MAX_PATCHES = 5_000  # in all photographs
BUNDLED = ("digits", "breast_cancer", "wine", "iris", "diabetes", "linnerud")
NORMAL = {"digits": (0, 1), "iris": (1,)}  # else a table's largest class
GREY = (0.2125, 0.7154, 0.0721)  # weights of red, green and blue (ITU-R 709)
CSV = {  # name -> file, column of the class, columns that repeat it, how it is read
    "adult": ("adult-train.csv.gz", 14, [], {"header": None}),
    "german": ("german.csv.gz", 20, [], {"header": None}),
    "horse-colic": ("horse-colic.csv.gz", 23, [2, 24, 25, 26, 27], {"header": None}),
    "titanic": ("titanic.csv", "survived", ["alive"], {}),
    "penguins": ("penguins.csv", "species", [], {}),
}
MAX_VALUES = 50  # a text column with more is left out


FILE_ERRORS = OSError, EOFError, LookupError, TypeError, ValueError
FILE_ERRORS += zlib.error, BadZipFile


class BadInput(Exception):
    """The user's input cannot be used; the message says why."""


@contextmanager
def _naming(path):
    try:
        yield
    except FILE_ERRORS as error:
        raise BadInput(f"{path}: {error}") from error


@dataclass(frozen=True, eq=False)
class Table:
    """Rows (n, d) and, where it is a classification, their classes (0, 1, ...)."""

    name: str
    X: np.ndarray
    y: np.ndarray | None = None
    drawn: str = ""  # says how many rows were drawn, where not all are here
    shape: tuple | None = None  # a picture's; its values are from 0 to data_range
    data_range: float = 1.0


def load(options, sources):
    """Tables of the sources that ``--tables`` names, or of all; large ones sampled."""
    names = options.tables.split(",") if options.tables else list(sources)
    if unknown := [name for name in names if name not in sources]:
        unknown = ", ".join(unknown)
        raise BadInput(f"no table {unknown}; there are: {', '.join(sources)}")
    return [_sampled(sources[name](), options) for name in names]


def tables(options):
    """Load the tables inside scikit-learn and every .npz of ``--data``."""
    return load(options, bundled() | npz_files(options.data))


def _sampled(table, options):
    X, y, n_rows = table.X, table.y, QUICK_ROWS if options.quick else MAX_ROWS
    if (n := len(X)) <= n_rows:
        return replace(table, y=_classes(y))
    rows = np.random.default_rng(options.seed).choice(n, n_rows, replace=False)
    note = f"{table.name} ({n_rows:,} of {n:,})"
    y = None if y is None else y[rows]
    return replace(table, X=X[rows], y=_classes(y), drawn=note)


def _classes(y):
    """Y as class numbers, or None where classes are too few rows: a measurement."""
    if y is None or y.ndim != 1:
        return None
    classes, numbers, counts = np.unique(y, return_inverse=True, return_counts=True)
    few = 2 <= len(classes) <= len(y) // 10
    return numbers if few and counts.min() >= 2 else None


def bundled(names=BUNDLED):
    """Tables inside scikit-learn, as sources."""
    return {name: partial(_bundled, name) for name in names}


def _bundled(name):
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    pixels = {"shape": (8, 8), "data_range": 16.0} if name == "digits" else {}
    return Table(name, X, y, **pixels)


def npz_files(folder):
    """Every .npz (X, y) of a folder and of those inside it, as sources."""
    if folder is None:
        return {}
    if not folder.is_dir():
        raise BadInput(f"--data {folder}: not a folder")
    paths = sorted(folder.rglob("*.npz"))
    if not paths:
        raise BadInput(f"--data {folder}: no .npz file in it")
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in paths]
    pairs = zip(names, paths, strict=True)
    return {name: partial(read_npz, name, path) for name, path in pairs}


def read_npz(name, path):
    """X as float64 rows, y or None; an error names the file."""
    with _naming(path):
        with np.load(path, allow_pickle=False) as file:
            if "X" not in file:
                raise ValueError(f"no array X, only {', '.join(file) or 'nothing'}")
            X, y = file["X"].astype(np.float64), file.get("y")
        if X.ndim == 0 or len(X) < MIN_ROWS:
            raise ValueError(f"X has shape {X.shape}, needs {MIN_ROWS} rows or more")
        X = X.reshape(len(X), -1)
        if not np.isfinite(X).all():
            raise ValueError("X holds missing or infinite values")
        if not np.ptp(X, axis=0).any():
            raise ValueError("every column of X is constant")
        if y is not None and y.shape[:1] != X.shape[:1]:
            raise ValueError(f"X has {len(X)} rows, y has shape {y.shape}")
    return Table(name, X, y)


def present(folder, sources):
    """Keep the sources whose files are in ``--data``; one of them has to be."""
    if folder is None:
        return {}
    found = {
        name: partial(read, *(folder / file for file in files))
        for name, (read, *files) in sources.items()
        if (folder / files[0]).is_file()
    }
    if not found:
        files = ", ".join(files[0] for _, *files in sources.values())
        raise BadInput(f"--data {folder}: none of {files} in it")
    return found


def _csv(name, column, left_out, how, path):
    frame = pd.read_csv(path, na_values="?", skipinitialspace=True, **how)
    frame = frame.dropna(subset=[column])
    y = pd.factorize(frame.pop(column), sort=True)[0]
    return Table(name, encoded(frame.drop(columns=left_out)), y)


def encoded(frame):
    """Numbers with gaps at the median, text as one column a value: rows (n, d)."""
    numbers = frame.select_dtypes("number")
    text = frame.select_dtypes(exclude="number").fillna("missing").astype(str)
    text = text.loc[:, [c for c in text if text[c].nunique() <= MAX_VALUES]]
    parts = [numbers.fillna(numbers.median())]
    if text.shape[1]:
        parts.append(pd.get_dummies(text, dtype=float))
    return pd.concat(parts, axis=1).to_numpy(np.float64)


def photographs(side):
    """Non-overlapping squares of scikit-learn's two photographs."""
    squares = []
    for image in datasets.load_sample_images().images:
        down, across = (n // side for n in image.shape[:2])
        grey = (image @ np.array(GREY) / 255)[: down * side, : across * side]
        cut = grey.reshape(down, side, across, side).swapaxes(1, 2)
        squares.append(cut.reshape(down * across, side**2))
    X = np.random.default_rng(0).permutation(np.concatenate(squares))[:MAX_PATCHES]
    return Table(f"photographs {side}x{side}", X, shape=(side, side))


def mnist(path, path_of_labels):
    """MNIST's test digits, from 0 to 1, with their classes if these are there."""
    images = read_idx(path)
    y = read_idx(path_of_labels).astype(int) if path_of_labels.is_file() else None
    X = images.reshape(len(images), -1) / 255
    return Table("MNIST", X, y, shape=images.shape[1:])


def read_idx(path):
    """Bytes of a gzipped file in MNIST's format."""
    with _naming(path):
        content = gzip.decompress(path.read_bytes())
        # Two zeros, the type (8: bytes), the number of dimensions; these, 32 bits each
        # with the highest first; then the values in C order.
        if content[:3] != b"\0\0\x08":
            raise ValueError("not idx of bytes")
        start = 4 + 4 * content[3]
        shape = np.frombuffer(content[4:start], ">u4")
        return np.frombuffer(content[start:], np.uint8).reshape(shape)


def ecg(path):
    """Beats of ECG5000: class 1 is normal (0), the others are not (1)."""
    with _naming(path):
        values = np.loadtxt(path, ndmin=2)
    return Table("ECG5000", values[:, 1:], (values[:, 0] != 1).astype(int))


MNIST = "images/mnist-t10k-images-idx3", "images/mnist-t10k-labels-idx1"
MNIST_FILES = {"MNIST": (mnist, *(f"{name}-ubyte.gz" for name in MNIST))}
ECG_FILES = {"ECG5000": (ecg, "signals/ECG5000_TRAIN.txt.gz")}
CSV_FILES = {
    name: (partial(_csv, name, *how), f"tabular/{file}")
    for name, (file, *how) in CSV.items()
}


def anomaly_tasks(options):
    """Tables of normal (0) and abnormal rows (1); of ``--data`` alone if given."""
    sources = npz_files(options.data) if options.data else bundled()
    found, tasks = load(options, sources), []
    left_out = ", ".join(table.name for table in found if table.y is None)
    if left_out:
        print(f"Left out, no two classes of two rows or more in y: {left_out}.\n")
    for table in (table for table in found if table.y is not None):
        counts = np.bincount(table.y)
        if len(counts) == 2 and counts[1] < counts[0]:
            tasks.append(table)
            continue
        for normal in NORMAL.get(table.name, (counts.argmax(),)):
            tasks.append(_one_normal(table, normal, options.seed))
    if not tasks:
        raise BadInput(f"no two classes of two rows or more in y: {left_out}")
    return tasks


def _one_normal(table, normal, seed):
    is_normal = table.y == normal
    inside, others = np.flatnonzero(is_normal), np.flatnonzero(~is_normal)
    n_drawn = min(len(others), max(2, round(len(inside) / 9)))
    drawn = np.random.default_rng(seed).choice(others, n_drawn, replace=False)
    rows = np.sort(np.r_[inside, drawn])
    name = f"{table.name} {normal}"
    note = f"{name} ({len(inside):,} rows, {n_drawn:,} of the {len(others):,} others)"
    return Table(name, table.X[rows], (~is_normal[rows]).astype(int), note)


def one_class(table, seed):
    """Half of the normal rows to train; the others and all abnormal ones to test."""
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(table.y == 0))
    half = len(rows) // 2
    test = np.r_[rows[half:], np.flatnonzero(table.y == 1)]
    return table.X[rows[:half]], table.X[test], table.y[test]


def all_rows(table, seed):
    """All rows to train, outliers included, and no others to test."""
    return table.X, None, table.y


def contaminated_halves(table, seed):
    """Half of each class's rows to train, outliers included; the others to test."""
    rng, is_train = np.random.default_rng(seed), np.zeros(len(table.X), bool)
    for label in (0, 1):
        rows = rng.permutation(np.flatnonzero(table.y == label))
        is_train[rows[: (len(rows) + 1) // 2]] = True  # one of each class at the least
    return table.X[is_train], table.X[~is_train], table.y[~is_train]


def curved_sheet(n, d, noise=0.3):
    """Standardised rows (n, d) on a curved sheet, with noise, in float32."""
    rng = np.random.default_rng(0)
    weights, X = rng.normal(size=(8, d)), np.empty((n, d), np.float32)
    # By blocks and in place: a second table would count in the memory that is measured.
    for rows in gen_batches(n, 1_000):
        Z = rng.normal(size=(rows.stop - rows.start, 8))
        X[rows] = np.tanh(Z @ weights) + noise * rng.normal(size=X[rows].shape)
    for column in X.T:
        column -= column.mean()
        column /= column.std()
    return X
