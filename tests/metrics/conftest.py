"""torchmetrics can be imported, whatever torchvision there is."""

import importlib.util

import torch

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
