"""Run a question: ``OMP_NUM_THREADS=1 python -m benchmarks pca --out results``.

A question has one face or several, each a module: ``python -m benchmarks speed`` runs
all faces, ``python -m benchmarks speed --face growth`` one. A face's docstring is its
title; protocols.md says what each measures and how. ``cases(options)`` lists what is
measured, a dictionary each; ``measure(**case)`` returns one result, a dictionary of
``MEASURED``. The summary is the mean by ``KEYS``; ``FIGURE`` of ``OURS`` and its rivals
is compared by ``ROWS``. A face may have a ``summary`` and a ``plot`` to replace these.

``--out`` writes each face's section of the page QUESTION.md, its rows to QUESTION.csv
(first face) or QUESTION-FACE.csv, and the first face's picture to QUESTION.png.

Exit codes: 0, 1 if a measurement failed, 2 if the input was wrong.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path

import pandas as pd

from benchmarks import _report
from benchmarks._tables import BadInput

NAMES = "pca variants generation outliers images pretraining compression speed"
FACES = {  # the others have one, of their name; the first is a module of the question's
    "outliers": ("detection", "robustness", "explanations", "measures"),
    "speed": ("training", "quality", "growth", "scoring", "detection"),
}
QUESTIONS = {  # name -> face -> module
    name: {
        face: import_module(f"benchmarks.{name}{f'_{face}' if i else ''}")
        for i, face in enumerate(FACES.get(name, [name]))
    }
    for name in NAMES.split()
}


def main(argv=None):
    """Run the faces of one question; return the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    faces = QUESTIONS[options.question]
    names = [options.face] if options.face else list(faces)
    if options.seed < 0 or options.seeds < 1:
        parser.error("--seed starts at 0 and --seeds at 1")
    if not set(names) <= set(faces):
        parser.error(f"--face of {options.question}: {', '.join(faces)}")
    try:
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
        cases = {name: faces[name].cases(options) for name in names}
    except (BadInput, OSError) as error:
        parser.error(str(error))
    return int(any([_run(options, name, cases[name]) for name in names if cases[name]]))


def _run(options, name, cases):
    """Measure, show and write one face; True if a measurement failed."""
    question, faces = options.question, QUESTIONS[options.question]
    is_first, face = name == next(iter(faces)), faces[name]
    print(f"{face.__doc__}\n")
    frame = _measured(face, cases)
    stem = question if is_first else f"{question}-{name}"
    if path := options.out and options.out / stem:
        frame.to_csv(path.with_suffix(".csv"), index=False)
    notes = [_report.versions()]
    drawn = {getattr(v, "drawn", "") for c in cases for v in c.values()} - {""}
    if names := ", ".join(sorted(drawn)):
        notes.append(f"Rows drawn with seed {options.seed}: {names}.")
    failed = frame[frame["error"] != ""]
    for *case, error in failed[[*cases[0], "error"]].to_numpy():
        notes.append(f"FAILED {' '.join(map(str, case))}: {error}")
    if len(failed) == len(frame):
        print("", *notes, "", sep="\n")
        return True
    table, details = _report.summary(face, frame), _report.details(face, frame)
    notes = [*_report.comparisons(face, details), *notes]
    print("", _report.texts(table).to_string(index=False), "", *notes, "", sep="\n")
    if path:
        picture = f"![{face.__doc__}]({question}.png)" * is_first
        if is_first:
            _report.plot(face, frame).savefig(path.with_suffix(".png"), dpi=150)
        command = _command(options, name if len(faces) > 1 else None)
        section = _report.section(face, command, table, notes, picture, details)
        _report.write_section(options.out / f"{question}.md", section)
    return len(failed) > 0


def _command(options, face):
    given = {"face": face, "data": options.data and "DIR", "tables": options.tables}
    given |= {"seed": options.seed, "seeds": options.seeds > 1 and options.seeds}
    parts = [f"--{name} {value}" for name, value in given.items() if value]
    parts += ["--quick"] * options.quick
    return " ".join(["python -m benchmarks", options.question, *parts])


def _measured(face, cases):
    """Measure every case, a line each as it comes; a failure is a row, too."""
    columns = list(dict.fromkeys([*cases[0], *face.MEASURED]))
    rows = [{k: getattr(v, "name", v) for k, v in case.items()} for case in cases]
    texts = {c: [_report.text(row.get(c, "")) for row in rows] for c in columns}
    widths = {c: max(map(len, [c, "seconds", *texts[c]])) for c in columns}
    print(*(c.ljust(width) for c, width in widths.items()))
    for row, case in zip(rows, cases, strict=True):
        row["error"] = ""
        try:
            row |= face.measure(**case)
        except Exception as error:
            row["error"] = f"{type(error).__name__}: {error}"
        cells = [_report.text(row.get(c)).ljust(width) for c, width in widths.items()]
        print(*cells, row["error"], flush=True)
    return pd.DataFrame(rows, columns=[*columns, "error"])


def _parser():
    lines = ["Questions, and their faces in brackets:"]
    for question, faces in QUESTIONS.items():
        title = next(iter(faces.values())).__doc__
        lines.append(f"  {question} ({', '.join(faces)}): {title}")
    parser = argparse.ArgumentParser(
        "python -m benchmarks",
        description="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("question", nargs="?", default="pca", choices=QUESTIONS)
    add("--face", help="only this face of the question (default: all)")
    add("--data", type=Path, metavar="DIR", help="add tables of DIR (.npz of X, y)")
    add("--out", type=Path, metavar="DIR", help="write CSV, PNG and markdown there")
    add("--tables", metavar="NAME,NAME", help="only these tables")
    add("--seed", type=int, default=0, help="first seed (default 0)")
    add("--seeds", type=int, default=1, help="how many seeds (default 1)")
    add("--quick", action="store_true", help="at most 500 rows a table, for CI")
    return parser


if __name__ == "__main__":
    sys.exit(main())
