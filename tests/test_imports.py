"""Extras are imported by what needs them, not before."""

import subprocess
import sys

EXTRAS = ["constriction", "matplotlib", "skimage", "torchmetrics", "torchvision"]


def test_nothing_of_an_extra_is_imported_before_it_is_needed():
    code = (
        "import sys, sklearn_ae, sklearn_ae.metrics, sklearn_ae.plots; "
        f"print([name for name in {EXTRAS} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
