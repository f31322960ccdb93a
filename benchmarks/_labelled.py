"""Tables with classes for questions of few labels: text columns made numbers."""

from functools import partial

import numpy as np
import pandas as pd

from benchmarks._pictures import MNIST, mnist, read_idx
from benchmarks._tables import MAX_ROWS, QUICK_ROWS, BadInput, Table, chosen, one_table

LABELS = "images/mnist-t10k-labels-idx1-ubyte.gz"
CSV = {  # name -> (file, column of the class, how it is read)
    "adult": ("adult-train.csv.gz", 14, {"header": None}),
    "german": ("german.csv.gz", 20, {"header": None}),
    "horse-colic": ("horse-colic.csv.gz", 23, {"header": None}),
    "titanic": ("titanic.csv", "survived", {}),
    "penguins": ("penguins.csv", "species", {}),
}
TOLD = {  # columns that say the class, or name the row
    "titanic": ["alive"],
    "horse-colic": [2, 24, 25, 26, 27],
}
MAX_VALUES = 50  # of a text column; one with more is left out


def load(options):
    """The tables that ``--data`` and ``--tables`` ask for, those with classes."""
    found = {
        name: partial(one_table, name)
        for name in ("digits", "breast_cancer", "wine", "iris")
    }
    if options.data:
        found |= {
            name: partial(_csv, options.data / "tabular" / file, column, how, name)
            for name, (file, column, how) in CSV.items()
            if (options.data / "tabular" / file).is_file()
        }
        if all((options.data / file).is_file() for file in (MNIST, LABELS)):
            found["MNIST"] = partial(_mnist, options.data)
        if len(found) == 4:
            raise BadInput(
                f"--data {options.data}: no tabular/*.csv and no MNIST in it"
            )
    return [_fewer(found[name](), options) for name in chosen(found, options)]


def _fewer(table, options):
    most = QUICK_ROWS if options.quick else MAX_ROWS
    if len(table.X) <= most:
        return table
    rows = np.random.default_rng(options.seed).choice(len(table.X), most, replace=False)
    return Table(table.name, table.X[rows], table.y[rows])


def _mnist(folder):
    return Table(
        "MNIST", mnist(folder / MNIST).X, read_idx(folder / LABELS).astype(int)
    )


def _csv(path, column, how, name):
    frame = pd.read_csv(path, na_values="?", skipinitialspace=True, **how)
    frame = frame.dropna(subset=[column])
    y = pd.factorize(frame.pop(column), sort=True)[0]
    return Table(name, encoded(frame.drop(columns=TOLD.get(name, []))), y)


def encoded(frame):
    """Numbers with gaps at the median, text as one column a value: rows (n, d)."""
    numbers = frame.select_dtypes("number")
    text = frame.select_dtypes(exclude="number").fillna("missing").astype(str)
    text = text.loc[:, [c for c in text if text[c].nunique() <= MAX_VALUES]]
    parts = [numbers.fillna(numbers.median())]
    if text.shape[1]:
        parts.append(pd.get_dummies(text, dtype=float))
    return pd.concat(parts, axis=1).to_numpy(np.float64)
