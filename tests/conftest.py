"""What all tests share: threads, no windows or open figures, an import that works."""

import importlib.util
import os
import sys

import matplotlib
import pytest
import torch

matplotlib.use("Agg")

# Run by hand: python -m tests.campaign.
collect_ignore = ["campaign"]
BOXES = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

if importlib.util.find_spec("torchvision") is not None:
    try:
        import torchvision
    except RuntimeError:
        # Built for another torch, it lacks its operators: LPIPS needs none of them.
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define(f"nms{BOXES}")
        library.define(f"qnms{BOXES}")
        import torchvision  # noqa: F401


def pytest_configure(config):
    """One thread for each worker, which has a core: more would wait for each other."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def several_threads():
    """More than one, or a forgotten limit would not show."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
