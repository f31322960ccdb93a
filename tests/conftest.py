"""What all tests share: no windows, no open figures, and a torchmetrics to import."""

import importlib.util
import sys

import matplotlib
import pytest
import torch

matplotlib.use("Agg")

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


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
