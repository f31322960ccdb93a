"""Ask one question: ``OMP_NUM_THREADS=1 python -m benchmarks pca --out results``.

A question is a module. Its docstring's first line says what is asked; ``FORMATS`` are
the columns of its results and how each is printed; ``cases(options)`` lists what is to
be measured, a dictionary each; ``measure(**case)`` returns one result as a dictionary;
``summary(frame, cases)`` returns a small data frame and a list of sentences;
``plot(frame)`` returns a figure; ``details(frame)``, where it is there, what is written
for the reader in place of all rows.

Exit codes: 0, 1 when a measurement failed, 2 when the input was wrong.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from benchmarks import (
    _report,
    compression,
    explanations,
    generation,
    growth,
    images,
    outliers,
    pca,
    pretraining,
    quality,
    robustness,
    scoring,
    speed,
    variants,
)
from benchmarks._tables import BadInput

QUESTIONS = {
    "pca": pca,
    "variants": variants,
    "generation": generation,
    "outliers": outliers,
    "robustness": robustness,
    "explanations": explanations,
    "images": images,
    "pretraining": pretraining,
    "compression": compression,
    "speed": speed,
    "quality": quality,
    "growth": growth,
    "scoring": scoring,
}


def main(argv=None):
    """Run one question; return the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    question = QUESTIONS[options.question]
    if options.seed < 0 or options.seeds < 1:
        parser.error("--seed starts at 0 and --seeds at 1")
    try:
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
        cases = question.cases(options)
    except (BadInput, OSError) as error:
        parser.error(str(error))
    frame = _ask(question, cases)
    failures = _report.failures(frame, cases[0])
    summary, sentences = question.summary(frame, cases)
    sentences += [_report.versions(), *failures]
    _report.show(summary, sentences, question.FORMATS)
    if options.out:
        path = options.out / options.question
        _report.write(path, question, frame, summary, sentences)
    return 1 if failures else 0


def _ask(question, cases):
    """Measure every case, showing each as it comes."""
    rows = []
    with _screen()(question.FORMATS, cases) as screen:
        for case in cases:
            screen.start_case(case)
            rows.append(_attempt(question.measure, case))
            screen.add(rows[-1])
    return pd.DataFrame(rows, columns=[*question.FORMATS, "error"]).infer_objects()


def _screen():
    """A live table in a terminal, plain lines in a pipe."""
    if not sys.stdout.isatty():
        return _report.Lines
    from benchmarks._live import Live  # needs rich, which a pipe does not

    return Live


def _attempt(measure, case):
    """One row; a failure is a result like any other, and keeps its name."""
    row = {key: _report.name_of(value) for key, value in case.items()}
    try:
        return row | measure(**case) | {"error": ""}
    except Exception as error:
        return row | {"error": f"{type(error).__name__}: {error}"}


def _parser():
    lines = [f"{name}: {q.__doc__.splitlines()[0]}" for name, q in QUESTIONS.items()]
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=" ".join(lines)
    )
    add = parser.add_argument
    add("question", nargs="?", default="pca", choices=QUESTIONS)
    add("--data", type=Path, metavar="DIR", help="add every .npz (X, y) in DIR")
    add("--out", type=Path, metavar="DIR", help="write CSV, PNG and markdown there")
    add("--tables", metavar="NAME,NAME", help="only these tables")
    add("--seed", type=int, default=0, help="first seed (default 0)")
    add("--seeds", type=int, default=1, help="how many seeds (default 1)")
    add("--quick", action="store_true", help="at most 500 rows a table, for CI")
    return parser


if __name__ == "__main__":
    sys.exit(main())
