"""What the tests of the benchmarks share."""

import pandas as pd


def ask(question, out, *arguments):
    """The exit code of a question, and the rows that it wrote."""
    from benchmarks.__main__ import main  # needs matplotlib

    code = main([question, "--out", str(out), *arguments])
    return code, pd.read_csv(out / f"{question}.csv")
