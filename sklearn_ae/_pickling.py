"""Pickles of estimators: numpy arrays in place of torch's tensors, and a version."""

import copy
import copyreg
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import InconsistentVersionWarning
from torch import Tensor, nn

# Raised with each change of the private state that fitted estimators have: a pickle of
# another format is refused.
STATE_FORMAT = 1
_VERSION, _FORMAT = "_sklearn_ae_version", "_sklearn_ae_state_format"


class PicklingMixin:
    """Pickling of an estimator, in a state that belongs to no process and no device.

    Processes that are spawned get torch's tensors as handles of shared memory, which
    last no longer than the process that made them. The state therefore has arrays; the
    tensors are made from copies of these at load, so that it may be mapped from a file.
    """

    def __copy__(self) -> Self:
        new = type(self).__new__(type(self))
        vars(new).update(vars(self))
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Within a process tensors are copied as tensors, on their device.
        memo[id(self)] = new = type(self).__new__(type(self))
        vars(new).update(copy.deepcopy(vars(self), memo))
        return new

    def __reduce__(self) -> tuple[Any, ...]:
        # The version comes before the state, whose classes another may not have.
        return *self._opening(), self.__getstate__()

    def __getstate__(self) -> dict[str, Any]:
        return _Arrays().of(self._versioned_state())

    def _opening(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _opened, (type(self), _version(), STATE_FORMAT)

    def _versioned_state(self) -> dict[str, Any]:
        state = dict(super().__getstate__())  # type: ignore[call-overload]
        return state | {_VERSION: _version(), _FORMAT: STATE_FORMAT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if any(isinstance(value, _Stored) for value in state.values()):
            # The state is not from a pickle, where they have become what they hold.
            state = copy.deepcopy(state)
        name, written_by = type(self).__name__, state.get(_VERSION)
        parameters = self._get_param_names()  # type: ignore[attr-defined]
        missing = [p for p in parameters if p not in state]
        _refuse_unreadable(name, written_by, state.get(_FORMAT), missing)
        if written_by != _version():
            warnings.warn(
                InconsistentVersionWarning(
                    estimator_name=f"{name} of sklearn-ae",
                    current_sklearn_version=_version(),
                    original_sklearn_version=written_by,
                ),
                stacklevel=2,
            )
        state = {k: v for k, v in state.items() if k not in (_VERSION, _FORMAT)}
        super().__setstate__(state)  # type: ignore[misc]


def _opened(kind: type, version: str, state_format: int) -> Any:
    """Return an estimator that is to get a state, if this version can read it."""
    _refuse_unreadable(kind.__name__, version, state_format)
    return _new(kind)


def _refuse_unreadable(
    name: str,
    version: str | None,
    state_format: int | None,
    missing: Sequence[str] = (),
) -> None:
    if version is not None and state_format == STATE_FORMAT and not missing:
        return
    without = f" without {', '.join(missing)}" if missing else ""
    written_by = version or "before 0.1.0, or by a development version"
    raise ValueError(
        f"This {name} was pickled{without} by sklearn-ae {written_by}, and sklearn-ae "
        f"{_version()} can't read its state: fit it again, or load it with the version "
        "that wrote it."
    )


def _version() -> str:
    # The package imports this module before it has all of its names.
    return sys.modules["sklearn_ae"].__version__


class _Stored:
    """An object in a pickled state that becomes another one when it is loaded.

    The arguments are those of a tuple of ``__reduce__``, with lists for iterators.
    """

    def __init__(
        self,
        make: Callable[..., Any],
        arguments: tuple[Any, ...],
        state: Any = None,
        items: list[Any] | None = None,
        pairs: list[Any] | None = None,
        *setter: Any,
    ) -> None:
        self.make, self.arguments, self.state = make, arguments, state
        self.items, self.pairs, self.setter = items, pairs, setter

    def __reduce__(self) -> tuple[Any, ...]:
        iterators = (None if x is None else iter(x) for x in (self.items, self.pairs))
        return self.make, self.arguments, self.state, *iterators, *self.setter


class _Arrays:
    """A walk through objects as pickle takes it, once for each object.

    ``of(value)`` is the value with a ``_Stored`` for each tensor and module, and for
    each object that has one in its state; other objects are those of the value. A
    tensor that several modules share is one ``_Stored``, and one tensor when loaded.
    """

    def __init__(self) -> None:
        # By id; with the object itself, as another may get the id of one that is gone.
        self._done: dict[int, tuple[Any, Any]] = {}

    def of(self, value: Any) -> Any:
        if isinstance(value, _ATOMS):
            return value
        if id(value) not in self._done:
            walk = _WALKS.get(type(value), _Arrays._object)
            walk = _Arrays._tensor if isinstance(value, Tensor) else walk
            result = walk(self, value)
            self._done[id(value)] = value, result
        return self._done[id(value)][1]

    def _tensor(self, tensor: Tensor) -> Any:
        plain = type(tensor) in (Tensor, nn.Parameter)
        if not plain or tensor.layout is not torch.strided or tensor.is_meta:
            return tensor
        # Memory without gaps; strides are kept where that is possible.
        dense = tensor.detach().cpu().resolve_conj().resolve_neg()
        dense = dense if dense.is_contiguous() else dense.clone()
        flat = dense.as_strided((dense.numel(),), (1,))
        dtype = str(tensor.dtype).removeprefix("torch.")
        if not hasattr(np, dtype):
            flat = flat.view(torch.uint8)
        layout = dtype, tuple(dense.shape), dense.stride()
        is_parameter = isinstance(tensor, nn.Parameter)
        return _Stored(
            _tensor, (flat.numpy(), *layout, tensor.requires_grad, is_parameter)
        )

    def _dict(self, value: dict[Any, Any]) -> dict[Any, Any]:
        new: dict[Any, Any] = {}
        self._done[id(value)] = value, new
        new.update((key, self.of(item)) for key, item in value.items())
        return new if any(new[key] is not value[key] for key in value) else value

    def _list(self, value: list[Any]) -> list[Any]:
        new: list[Any] = []
        self._done[id(value)] = value, new
        new.extend(map(self.of, value))
        return new if _differ(new, value) else value

    def _tuple(self, value: tuple[Any, ...]) -> tuple[Any, ...]:
        new = tuple(map(self.of, value))
        return new if _differ(new, value) else value

    def _object(self, value: Any) -> Any:
        try:
            reduced = _reduced(value)
        except Exception:
            # pickle raises it again, if the pickler at work can do no more than pickle.
            return value
        if isinstance(reduced, str):
            return value
        # Registered before its parts, which may refer to it.
        stored = _Stored(*reduced)
        self._done[id(value)] = value, stored
        old = stored.arguments, stored.state, stored.items, stored.pairs
        new = tuple(map(self.of, old))
        stored.arguments, stored.state, stored.items, stored.pairs = new
        is_module = isinstance(value, nn.Module)
        return stored if is_module or _differ(new, old) else value


def _differ(new: Any, old: Any) -> bool:
    return any(a is not b for a, b in zip(new, old, strict=True))


def _reduced(value: Any) -> str | tuple[Any, ...]:
    """Return the value as ``__reduce_ex__`` does, with lists for iterators."""
    if getattr(type(value), "__getstate__", None) is PicklingMixin.__getstate__:
        # One walk for all of a state: estimators share modules and columns.
        return *value._opening(), value._versioned_state(), None, None
    reduce = copyreg.dispatch_table.get(type(value))
    reduced = reduce(value) if reduce else value.__reduce_ex__(4)
    if isinstance(reduced, str):
        return reduced
    make, arguments, *rest = reduced
    state, items, pairs, *setter = [*rest, None, None, None][: max(3, len(rest))]
    lists = (None if x is None else list(x) for x in (items, pairs))
    return _OF_ANY_TYPE.get(make, make), arguments, state, *lists, *setter


def _new(kind: type, *args: Any) -> Any:
    return kind.__new__(kind, *args)


def _new_ex(kind: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return kind.__new__(kind, *args, **kwargs)


def _tensor(
    array: NDArray[Any],
    dtype: str,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: bool,
    is_parameter: bool,
) -> Tensor:
    """Return a tensor with a copy of the array, which may be mapped and read-only."""
    with torch.inference_mode(False):
        native = array.dtype.newbyteorder("=")
        flat = torch.from_numpy(np.empty(0, native)).new_empty(array.size)
        flat.numpy()[:] = array
        tensor = flat.view(getattr(torch, dtype)).as_strided(shape, stride)
        if is_parameter:
            return nn.Parameter(tensor, requires_grad)
        return tensor.requires_grad_(requires_grad)


_ATOMS = (type(None), bool, int, float, complex, str, bytes, type, np.ndarray)
_WALKS: dict[type, Callable[[_Arrays, Any], Any]] = {
    dict: _Arrays._dict,
    list: _Arrays._list,
    tuple: _Arrays._tuple,
}
# pickle takes those of copyreg for objects of the very type only.
_OF_ANY_TYPE = {
    copyreg.__newobj__: _new,  # type: ignore[attr-defined]
    copyreg.__newobj_ex__: _new_ex,  # type: ignore[attr-defined]
}
