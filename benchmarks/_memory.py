"""How much memory a call takes at its peak, as Linux tells it; elsewhere NaN."""

import ctypes
from contextlib import suppress
from pathlib import Path

import numpy as np

PROCESS = Path("/proc/self")


def with_peak(function, *args):
    """Bytes held at the call's peak beyond those held before it, and its result.

    Of the whole process. Linux counts pages in batches: a megabyte is its precision.
    """
    before = _forgotten()
    result = function(*args)
    return _highest() - before, result


def _forgotten():
    """Forget the highest mark so far; what is held now is the new one."""
    # What was freed but not given back would be used again, and not be counted.
    with suppress(AttributeError, OSError, TypeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        (PROCESS / "clear_refs").write_text("5")
        return _highest()
    # A mark that can't be forgotten may be of what was before.
    return np.nan


def _highest():
    try:
        lines = (PROCESS / "status").read_text().splitlines()
    except OSError:
        return np.nan
    kilobytes = next(line for line in lines if line.startswith("VmHWM")).split()[1]
    return 1024 * int(kilobytes)
