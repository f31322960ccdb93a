"""Tables: those inside scikit-learn, every ``.npz`` of a folder, and drawn ones."""

from argparse import Namespace
from dataclasses import dataclass
from functools import partial
from zipfile import BadZipFile

import numpy as np
from sklearn import datasets
from sklearn.utils import gen_batches

MIN_ROWS, MAX_ROWS, QUICK_ROWS = 12, 10_000, 500

BUNDLED = ("digits", "breast_cancer", "wine", "iris", "diabetes", "linnerud")
ONE_UNIT = ("digits",)  # pixels
NORMAL = {"digits": (0, 1), "iris": (1,)}  # else a table's largest class


class BadInput(Exception):
    """What the user gave cannot be used; the message says why."""


@dataclass(frozen=True, eq=False)
class Table:
    """Rows and, where it is a classification, their classes (0, 1, ...)."""

    name: str
    X: np.ndarray
    y: np.ndarray | None
    drawn: str = ""  # what was drawn from what, where not all rows are here

    @property
    def one_unit(self):
        """Whether the columns share a unit, known of those inside scikit-learn."""
        return self.name in ONE_UNIT


def load_tables(options, *, bundled=True):
    """Every table that ``--data`` and ``--tables`` ask for."""
    sources = {name: partial(_bundled, name) for name in BUNDLED if bundled}
    if options.data:
        sources |= _files(options.data, taken=sources)
    names = chosen(sources, options)
    max_rows = QUICK_ROWS if options.quick else MAX_ROWS
    return [_table(name, *sources[name](), max_rows, options.seed) for name in names]


def chosen(sources, options):
    """Names of the sources that ``--tables`` asks for; of all, if it does not."""
    names = options.tables.split(",") if options.tables else list(sources)
    if unknown := [name for name in names if name not in sources]:
        raise BadInput(
            f"no table {', '.join(unknown)}; there are: {', '.join(sources)}"
        )
    return names


def one_table(name, folder=None, quick=False):
    """A table of scikit-learn's, or of a folder's."""
    asked = Namespace(data=folder, tables=name, quick=quick, seed=0)
    return load_tables(asked, bundled=folder is None)[0]


def each(tables, methods, options):
    """A case for every table, seed and method."""
    return [
        {"table": table, "method": method, "seed": seed}
        for table in tables
        for seed in range(options.seed, options.seed + options.seeds)
        for method in methods
    ]


def anomaly_tasks(options):
    """Tables of normal (0) and abnormal rows (1), out of those with classes.

    With ``--data`` only that folder's: tasks made of classes are not to be averaged
    with real ones.
    """
    tables = load_tables(options, bundled=not options.data)
    left_out = ", ".join(table.name for table in tables if table.y is None)
    if all(table.y is None for table in tables):
        raise BadInput(f"no two classes of two rows or more in y: {left_out}")
    if left_out:
        print(f"Left out, no two classes of two rows or more in y: {left_out}.\n")
    return [
        task
        for table in tables
        if table.y is not None
        for task in _anomaly_tasks(table, options.seed)
    ]


def _anomaly_tasks(table, seed):
    """The table itself where class 1 of two is the rarer; else one class is normal."""
    counts = np.bincount(table.y)
    if len(counts) == 2 and counts[1] < counts[0]:
        return [table]
    classes = NORMAL.get(table.name, (counts.argmax(),))
    return [_one_normal(table, normal, seed) for normal in classes]


def _one_normal(table, normal, seed):
    """All rows of a class, and so many of the others that they are 10 %."""
    own, others = (np.flatnonzero(f(table.y, normal)) for f in (np.equal, np.not_equal))
    n_drawn = min(len(others), max(2, round(len(own) / 9)))
    drawn = np.random.default_rng(seed).choice(others, n_drawn, replace=False)
    rows = np.sort(np.r_[own, drawn])
    name = f"{table.name} {normal}"
    note = f"{name} ({len(own):,} rows, and {n_drawn:,} of the {len(others):,} others)"
    return Table(name, table.X[rows], (table.y[rows] != normal).astype(int), note)


def _bundled(name):
    return getattr(datasets, f"load_{name}")(return_X_y=True)


def _files(folder, taken):
    if not folder.is_dir():
        raise BadInput(f"--data {folder}: not a folder")
    paths = sorted(folder.rglob("*.npz"))
    if not paths:
        raise BadInput(f"--data {folder}: no .npz file in it")
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in paths]
    names = [f"{name}.npz" if name in taken else name for name in names]
    return {name: partial(_read, path) for name, path in zip(names, paths, strict=True)}


def _read(path):
    """X as float64 rows, y or None; whatever is wrong names the file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if "X" not in file:
                raise BadInput(
                    f"{path}: no array X, only {', '.join(file) or 'nothing'}"
                )
            X, y = file["X"].astype(np.float64), file.get("y")
    except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:
        raise BadInput(f"{path}: {error}") from error
    if X.ndim == 0 or len(X) < MIN_ROWS:
        raise BadInput(f"{path}: X has shape {X.shape}, needs {MIN_ROWS} rows or more")
    X = X.reshape(len(X), -1)
    if not np.isfinite(X).all():
        raise BadInput(f"{path}: X holds missing or infinite values")
    if not np.ptp(X, axis=0).any():
        raise BadInput(f"{path}: every column of X is constant")
    if y is not None and y.shape[:1] != X.shape[:1]:
        raise BadInput(f"{path}: X has {len(X)} rows, y has shape {y.shape}")
    return X, y


def _table(name, X, y, max_rows, seed):
    if len(X) <= max_rows:
        return Table(name, X, _classes(y))
    rows = np.random.default_rng(seed).choice(len(X), max_rows, replace=False)
    note = f"{name} ({max_rows:,} of {len(X):,})"
    return Table(name, X[rows], None if y is None else _classes(y[rows]), note)


def _classes(y):
    """Y as class numbers, or None where it is a measurement.

    A class needs two rows to be both learnt and tested, and ten on average.
    """
    if y is None or y.ndim != 1:
        return None
    classes, numbers, counts = np.unique(y, return_inverse=True, return_counts=True)
    few = 2 <= len(classes) <= len(y) // 10
    return numbers if few and counts.min() >= 2 else None


def curved_sheet(n, d, noise=0.3):
    """Standardised rows (n, d) on a curved sheet, with noise, in float32.

    They are drawn by blocks and standardised in place: beside a million of them there
    is no second table, in float64 at that.
    """
    rng = np.random.default_rng(0)
    weights, X = rng.normal(size=(8, d)), np.empty((n, d), np.float32)
    for rows in gen_batches(n, 1_000):
        Z = rng.normal(size=(rows.stop - rows.start, 8))
        X[rows] = np.tanh(Z @ weights) + noise * rng.normal(size=X[rows].shape)
    for column in X.T:
        column -= column.mean()
        column /= column.std()
    return X
