"""torch's AdamW without torch's compiler."""

import inspect
from collections import defaultdict
from typing import Any

import torch


class AdamW(torch.optim.AdamW):
    """``torch.optim.AdamW(fused=True)``, made in no time.

    Any ``torch.optim.Optimizer`` imports torch's compiler when it is first made and
    when it first steps, which takes seconds of the first fit in each process. This one
    is made as if unpickled, and its step is torch's own without what is wrapped around
    it.

    Parameters
    ----------
    groups : list of dict
        Groups of parameters: "params", a list of Tensor, and their own settings.
    lr, betas, eps, weight_decay, amsgrad
        As torch's.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        for name, value in {"lr": lr, "eps": eps, "weight_decay": weight_decay}.items():
            if not value >= 0:
                raise ValueError(f"{name}={value!r} has to be 0 or above")
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas={betas!r} have to be two numbers in [0, 1)")
        defaults: dict[str, Any] = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "fused": True,
        }
        state: dict[str, Any] = {
            "defaults": defaults,
            "state": defaultdict(dict),
            "param_groups": [defaults | group for group in groups],
        }
        self.__setstate__(state)  # type: ignore[no-untyped-call]

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
