"""Random operations of a user's network, drawn from a given generator."""

import functools
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_CPU = torch.device("cpu")


class GeneratorMode(TorchDispatchMode):
    """A context in which torch's random operations draw from a generator.

    Dropout and the initialisation of layers take no generator, and would draw from
    torch's global one. The context holds for the thread that enters it alone. It adds
    some microseconds to each operation, and is for networks of users only. A few fused
    operations of GPUs (dropout in cuDNN's RNN or in fused attention) can't be given a
    generator, and still draw from the GPU's global one. So does dropout that
    ``torch.utils.checkpoint`` computes again in the backward pass.

    Parameters
    ----------
    generator : torch.Generator
        On the CPU. Tensors of another device are drawn by a generator of that device,
        which this one seeds.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._generators = {_CPU: generator}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operation, with the generator if it is random."""
        kwargs = dict(kwargs or {})
        seeded = _with_generator(func)
        given = (*args, kwargs.get("generator"))
        if seeded is None or any(isinstance(arg, Generator) for arg in given):
            return func(*args, **kwargs)
        tensors = (arg for arg in args if isinstance(arg, Tensor))
        device = kwargs.get("device") or next((t.device for t in tensors), _CPU)
        kwargs["generator"] = self._of_device(torch.device(device))
        return seeded(*args, **kwargs)

    def _of_device(self, device: torch.device) -> Generator:
        if device not in self._generators:
            seed = torch.randint(2**62, (), generator=self._generators[_CPU])
            self._generators[device] = Generator(device).manual_seed(int(seed))
        return self._generators[device]


@functools.cache
def _with_generator(func: Any) -> Any:
    """Return the operation that takes a generator; None if there is none, or no need.

    torch tags random operations. Some have a further overload with a generator.
    """
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return None
    if func is torch.ops.aten.native_dropout.default:
        return _native_dropout
    arguments = _arguments(func)
    if "generator" in arguments:
        return func
    packet = func.overloadpacket
    for overload in (getattr(packet, name) for name in packet.overloads()):
        others = _arguments(overload)
        if others.pop("generator", None) and others == arguments:
            return overload
    return None


def _arguments(func: Any) -> dict[str, str]:
    return {a.name: str(a.type) for a in func._schema.arguments}


def _native_dropout(
    x: Tensor, p: float, train: bool | None, *, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Dropout as GPUs run it: the output, and the mask of what is kept."""
    keep = 1 - p if train is None or train else 1.0
    mask = torch.empty_like(x).bernoulli_(keep, generator=generator)
    return x * mask / (keep or 1.0), mask.bool()
