"""Rows as they come, a summary, and the files of ``--out``: table, picture, page."""

from importlib.metadata import distributions
from itertools import cycle
from pathlib import Path
from platform import python_version

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

PROTOCOLS = Path(__file__).with_name("protocols.md")
LIBRARIES = "scikit-learn", "torch", "numpy", "scikit-image", "PyWavelets", "pyod"
EQUAL = 5e-4  # figures this near print the same three decimals


def text(value):
    """Three decimals, or three digits of what is small; a dash where nothing is."""
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return "-"
    if isinstance(value, (int, np.integer)) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.3f}"


def by(frame, figure, rows="table", columns="method", how="mean"):
    """Mean of a figure, rows x columns: over the seeds, if nothing else is left."""
    keys = [*np.atleast_1d(rows), *np.atleast_1d(columns)]
    cells = frame.groupby(keys, sort=False)[figure].agg(how)
    return cells.unstack(columns, sort=False)


def over(frame, figure, rival, within):
    """Each row's figure over the rival's in the same group, a round say."""
    theirs = frame[frame["method"] == rival].set_index(within)[figure]
    groups = frame.set_index(within).index
    return frame[figure] / theirs.reindex(groups).to_numpy()


def summary(face, frame):
    """A face's summary: the mean (or ``HOW``) of each figure by ``KEYS``."""
    if hasattr(face, "summary"):
        return face.summary(frame)
    if hasattr(face, "derived"):
        frame = face.derived(frame)
    left_out = {"seed", "round", "rows", "columns", *face.KEYS}
    figures = [c for c in frame.select_dtypes("number") if c not in left_out]
    groups = frame.groupby(face.KEYS, sort=False)[figures]
    table = groups.agg(getattr(face, "HOW", "mean"))
    if face.KEYS == ["method"]:
        medians = details(face, frame).median()
        table.insert(0, f"median {face.FIGURE} of the tables", medians)
    return table


def details(face, frame):
    """The mean (or ``HOW``) of ``FIGURE``, ``ROWS`` x methods; None without one."""
    if hasattr(face, "FIGURE"):
        rows, how = getattr(face, "ROWS", "table"), getattr(face, "HOW", "mean")
        return by(frame, face.FIGURE, rows, how=how)
    return None


def comparisons(face, table):
    """Say how often ours is ahead of each rival in ``details``, and the worst loss."""
    if table is None or face.OURS not in table:
        return
    sign = -1 if getattr(face, "LOWER_IS_BETTER", False) else 1
    floor = [face.FLOOR] if hasattr(face, "FLOOR") else []  # nothing can be ahead
    for rival, theirs in table.drop(columns=[face.OURS, *floor]).items():
        pairs = table[[face.OURS]].assign(theirs=theirs).dropna()
        if pairs.empty:
            continue
        lead = sign * (pairs[face.OURS] - pairs["theirs"])
        lead = lead.where(lead.abs() >= EQUAL, 0)
        line = f"{face.OURS} ahead of {rival} on {(lead > 0).sum()} of {len(lead)}"
        if (lead < 0).any():
            ours, value = pairs.loc[lead.idxmin()]
            name = " ".join(map(str, np.atleast_1d(lead.idxmin())))
            line += f", behind on {(lead < 0).sum()}; at worst {text(ours)} against "
            line += f"{text(value)} ({name})"
        yield f"{line}."


def versions():
    """Versions of Python and of the libraries that a figure depends on."""
    installed = {d.name: d.version for d in distributions()}
    found = [f"{name} {installed[name]}" for name in LIBRARIES if name in installed]
    return ", ".join([f"Python {python_version()}", *found]) + "."


def texts(table):
    """Cells as text, the index first; a column of whole numbers has no decimals."""
    keys = table.index.to_frame().map(
        lambda key: f"{key:g}" if isinstance(key, float) else text(key)
    )
    cells = table.convert_dtypes().map(text)
    return pd.concat([keys, cells], axis=1).reset_index(drop=True)


def _markdown(table):
    table = texts(table)
    lines = [list(table), ["---"] * table.shape[1], *table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def section(face, command, table, sentences, picture="", second=None):
    """A face's section of its question's page: title, protocol, results."""
    protocols = dict(s.split("\n", 1) for s in PROTOCOLS.read_text().split("\n## "))
    title, protocol = face.__doc__, protocols[face.__doc__]
    lines = "\n".join(f"* {sentence}" for sentence in sentences)
    last = "" if second is None else _markdown(second)
    parts = [title, f"`{command}`", protocol.strip(), _markdown(table), lines]
    return "\n\n".join(part for part in [*parts, picture, last] if part)


def write_section(path, new):
    """Write a section of a page in place of the one with that title, or at its end."""
    page = path.read_text(encoding="utf-8") if path.is_file() else f"# {path.stem}"
    head, *sections = page.strip().split("\n\n## ")
    sections = {s.partition("\n")[0]: s for s in [*sections, new]}
    page = "\n\n## ".join([head, *sections.values()])
    path.write_text(f"{page}\n", encoding="utf-8")


def plot(face, frame):
    """Draw a face's details: a line for each row, a marker for each method."""
    if hasattr(face, "plot"):
        return face.plot(frame)
    return dots({"": details(face, frame)}, face.FIGURE)


def dots(panels, xlabel, *, log=False):
    """Draw tables side by side: a line for each row, a marker for each column."""
    rows = list(dict.fromkeys(row for table in panels.values() for row in table.index))
    names = [" ".join(map(str, np.atleast_1d(row))) for row in rows]
    size = (4 + 4 * len(panels), 1.6 + 0.26 * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, table) in zip(every, panels.items(), strict=True):
        for method, marker in zip(table, cycle("o^sDv<>1xX+"), strict=False):
            area = 70 if method in ("ours", "AEOutlierDetector") else 24
            x = table[method].reindex(rows)
            axes.scatter(x, range(len(rows)), area, marker=marker, label=method)
        if log and (table > 0).any(axis=None):  # else there is no logarithm to draw
            axes.set_xscale("log")
        axes.set(title=title, xlabel=xlabel)
    every[0].set_yticks(range(len(rows)), names)
    every[0].invert_yaxis()
    return _with_legend(figure, every)


def curves(panels, xlabel, ylabel="", yscale="linear"):
    """Draw a panel for each table: a line for each column by the table's index."""
    n_rows, colors = -(-len(panels) // 2), {}
    figure = Figure(figsize=(9, 2.8 * n_rows + 0.6), layout="constrained")
    every = figure.subplots(n_rows, 2, squeeze=False).ravel()
    for axes, (title, table) in zip(every, panels.items(), strict=False):
        for method, line in table.items():
            line, color = line.dropna(), colors.setdefault(method, f"C{len(colors)}")
            axes.plot(line.index, line, "o-", color=color, markersize=4, label=method)
        axes.set(title=title, xlabel=xlabel, ylabel=ylabel, yscale=yscale)
    for axes in every[len(panels) :]:
        axes.remove()
    return _with_legend(figure, every[: len(panels)])


def _with_legend(figure, every):
    lines = {}
    for axes in every:
        axes.grid(alpha=0.3)
        handles, labels = axes.get_legend_handles_labels()
        lines |= dict(zip(labels, handles, strict=True))
    figure.legend(lines.values(), lines.keys(), loc="outside upper center", ncols=4)
    return figure
