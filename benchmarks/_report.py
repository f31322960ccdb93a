"""What every question shows: rows as they come, a summary, and three files."""

from importlib.metadata import version
from platform import python_version

import pandas as pd


def name_of(value):
    """Return what stands in a row for a part of a case: a table's name, say."""
    return getattr(value, "name", value)


def number(value):
    """Three decimals, or the size where nobody reads them; no number stays as it is."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.1e}"


def cells(row, formats):
    """Format one row; what is not there is a dash."""
    values = {column: row.get(column) for column in formats}
    return ["-" if pd.isna(v) else formats[c](v) for c, v in values.items()]


class Lines:
    """One plain line a row, columns as wide as the names known beforehand."""

    def __init__(self, formats, cases):
        self.formats = formats
        self.widths = [
            max(len(column), 6, *(len(str(name_of(c.get(column, "")))) for c in cases))
            for column in formats
        ]

    def __enter__(self):
        self._print(self.formats)
        return self

    def __exit__(self, *error):
        pass

    def start_case(self, case):
        """Do nothing: a line, once printed, stays."""

    def add(self, row):
        """Print one row, and the failure if it is one."""
        self._print(cells(row, self.formats), row["error"] and f"FAILED {row['error']}")

    def _print(self, texts, end=""):
        pairs = zip(texts, self.widths, strict=True)
        line = " ".join(text.ljust(width) for text, width in pairs)
        print(f"{line} {end}".rstrip(), flush=True)


def failures(frame, keys):
    """Name every measurement that failed."""
    failed = frame[frame["error"] != ""].to_dict("records")
    return [f"FAILED {' '.join(str(r[k]) for k in keys)}: {r['error']}" for r in failed]


def versions():
    """Name what a figure depends on beside the code."""
    names = ("scikit-learn", "torch", "numpy")
    libraries = ", ".join(f"{name} {version(name)}" for name in names)
    return f"Python {python_version()}, {libraries}."


def show(summary, sentences, formats):
    """Print the summary and what is to be said about it."""
    table = _texts(summary, formats).to_string(index=False)
    print("", table, "", *sentences, sep="\n")


def write(path, question, frame, summary, sentences):
    """Write ``path`` with .csv (every figure), .png and .md (to be read)."""
    frame.to_csv(path.with_suffix(".csv"), index=False)
    question.plot(frame).savefig(path.with_suffix(".png"), dpi=150)
    title = question.__doc__.splitlines()[0]
    details = getattr(question, "details", lambda frame: frame.drop(columns="error"))
    parts = [
        f"# {title}\n\n`python -m benchmarks {path.name}`",
        _markdown(_texts(summary, question.FORMATS)),
        "\n".join(f"* {sentence}" for sentence in sentences),
        f"![{title}]({path.name}.png)",
        _markdown(_texts(details(frame), question.FORMATS)),
    ]
    path.with_suffix(".md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def one_legend(figure, panels, n_used):
    """Remove the panels that are not used, and name all lines of the others once."""
    for axes in panels[n_used:]:
        axes.remove()
    lines = {}
    for axes in panels[:n_used]:
        handles, labels = axes.get_legend_handles_labels()
        lines |= dict(zip(labels, handles, strict=True))
    figure.legend(lines.values(), lines.keys(), loc="outside upper center", ncols=4)


def _texts(frame, formats):
    formats = {column: formats.get(column, number) for column in frame}
    rows = [cells(row, formats) for row in frame.to_dict("records")]
    return pd.DataFrame(rows, columns=list(formats))


def _markdown(texts):
    lines = [list(texts), ["---"] * texts.shape[1], *texts.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
