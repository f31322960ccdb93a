"""State that a call takes and puts back: threads, generators, gradients, attributes."""

import copy
import ctypes
import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from threadpoolctl import ThreadpoolController

# Above this many operations a step, a second thread earns more than it costs.
# Below, on a busy machine, two threads are many times slower than one.
MIN_FLOPS_FOR_THREADS = 2e9


def random_generator(random_state: object) -> np.random.RandomState:
    """Return scikit-learn's ``check_random_state``, but fresh entropy for None.

    With None scikit-learn draws from numpy's global generator and moves it on.
    """
    return check_random_state(
        np.random.RandomState() if random_state is None else random_state
    )


def torch_generator(random: np.random.RandomState) -> torch.Generator:
    """Return a new torch generator, seeded by the next draw of ``random``."""
    return torch.Generator().manual_seed(int(random.randint(2**31 - 1)))


def resolve_device(device: str) -> torch.device:
    """Return the torch device of that name; "auto" is CUDA where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        # Some devices lack double precision, or values.
        torch.zeros(1, device=resolved, dtype=torch.float64).item()
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"device={device!r} can't be used here ({shorten(str(error), 200)}). "
            "Use device='auto' or device='cpu'."
        ) from error
    return resolved


class _BlasLimit:
    """One thread for BLAS for as long as a call holds it.

    BLAS has one number of threads for the whole process: the first call takes it and
    the last one of those that overlap gives it back. Ctrl-C may come between any two
    steps: each leaves a state from which ``release`` restores the number.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._threads: dict[object, int] = {}
        self._before: list[tuple[Any, int]] = []

    def hold(self, holder: object) -> None:
        """Limit BLAS until ``release`` is called with the same object."""
        with self._lock:
            self._threads[holder] = threading.get_ident()
            if not self._before:
                self._before = [(lib, lib.num_threads) for lib in _libraries()["blas"]]
                for library, _ in self._before:
                    _set_blas(library, 1)
                # A one may be the limit of another library, which will give back more.
                self._before = [(lib, n) for lib, n in self._before if n != 1]

    def release(self, holder: object) -> None:
        """Give BLAS its number back if nobody else holds it."""
        with self._lock:
            self._threads.pop(holder, None)
            self._restore_if_free()

    def keep_this_thread_only(self) -> None:
        """Forget the other threads: a forked process has none of them."""
        self._lock = threading.RLock()
        here = threading.get_ident()
        self._threads = {h: t for h, t in self._threads.items() if t == here}
        self._restore_if_free()

    def _restore_if_free(self) -> None:
        if not self._threads:
            for library, n_threads in self._before:
                _set_blas(library, n_threads)
            self._before = []


def _set_blas(library: Any, n_threads: int) -> None:
    # threadpoolctl lets but one thread set the number of OpenBLAS, and does nothing in
    # any other: neither could the call that ends last give it back.
    release = getattr(library, "clear_controlling_thread", lambda force: None)
    release(force=True)
    library.set_num_threads(n_threads)
    release(force=True)


@functools.cache
def _libraries() -> dict[str, list[Any]]:
    """Loaded libraries with threads, by kind; looking them up takes milliseconds."""
    controller = ThreadpoolController()
    return {
        kind: controller.select(user_api=kind).lib_controllers
        for kind in ("blas", "openmp")
    }


@functools.cache
def _mkl_set_num_threads_local() -> Callable[[int], int]:
    """MKL's function for the calling thread, which returns the number before.

    It is torch's MKL. ``torch.set_num_threads`` fixes its number; otherwise, and where
    torch has no MKL or hides it, it follows OpenMP's.
    """
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        return ctypes.CDLL(str(library)).MKL_Set_Num_Threads_Local
    except (OSError, AttributeError):
        return lambda n_threads: 0


class _ThisThread(threading.local):
    """Numbers of threads outside of all contexts of the thread; None outside."""

    n_openmp: list[int] | None = None
    n_mkl = n_torch = 0


_blas = _BlasLimit()
_this_thread = _ThisThread()
_is_forked = False


def _after_fork() -> None:
    # OpenMP's threads did not survive the fork, and waiting for them hangs.
    global _is_forked
    _is_forked = True
    _blas.keep_this_thread_only()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def limit_threads(flops_per_step: float = 0.0, *, blas: bool = True) -> Iterator[None]:
    """One thread for small work, the caller's number for large; restored on exit.

    OpenMP's and MKL's numbers, which torch goes by, belong to the calling thread, and
    are changed there alone. (``torch.set_num_threads`` would also change the number
    that threads begin with.) If ``blas``, the linear algebra libraries below numpy are
    held to one thread as well: their results depend on the number of threads in the
    last bit, and with it everything that is trained from them, which would then change
    with ``n_jobs``. A forked process has one thread in any case.
    """
    # torch sets the numbers of a thread when it is first used there.
    n_torch = torch.get_num_threads()
    openmp, set_mkl = _libraries()["openmp"], _mkl_set_num_threads_local()
    before, is_outermost = [lib.num_threads for lib in openmp], False
    holder, n_mkl = object(), None
    try:
        if _this_thread.n_openmp is None:
            is_outermost, _this_thread.n_openmp = True, before
            _this_thread.n_torch = n_torch
        is_large = flops_per_step > MIN_FLOPS_FOR_THREADS and not _is_forked
        for library, n_threads in zip(openmp, _this_thread.n_openmp, strict=True):
            library.set_num_threads(n_threads if is_large else 1)
        if not (is_outermost and is_large):
            n_mkl = set_mkl(_this_thread.n_mkl if is_large else 1)
        if is_outermost and n_mkl is not None:
            _this_thread.n_mkl = n_mkl
        if blas:
            _blas.hold(holder)
        yield
    finally:
        if is_outermost:
            _this_thread.n_openmp = None
        for library, n_threads in zip(openmp, before, strict=True):
            library.set_num_threads(n_threads)
        if n_mkl is not None:
            set_mkl(n_mkl)
        if blas:
            _blas.release(holder)


def n_threads_outside() -> int:
    """Return torch's number of threads, in a ``limit_threads`` that outside of it."""
    if _this_thread.n_openmp is None:
        return torch.get_num_threads()
    return _this_thread.n_torch


@contextmanager
def enable_gradients() -> Iterator[None]:
    """Gradients on, even inside a caller's ``no_grad`` or ``inference_mode``."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def all_or_nothing(method: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a method that changes its estimator and returns it.

    The method works on a copy, whose attributes the estimator takes over at the end, in
    one step: it stays as it was if the method fails, and as it was until then for
    other threads. The decorator stands before ``with_callbacks``, as the teardown of a
    callback may fail, too.
    """

    @functools.wraps(method)
    def changed_at_the_end(estimator: Any, *args: Any, **kwargs: Any) -> Any:
        changed = copy.copy(estimator)
        before = dict(vars(changed))
        method(changed, *args, **kwargs)
        after = vars(changed)
        # Attributes that a callback set on the estimator meanwhile stay.
        now = vars(estimator).items()
        kept = {k: v for k, v in now if k in after or k not in before}
        new = {k: v for k, v in after.items() if k not in before or before[k] is not v}
        estimator.__dict__ = kept | new
        return estimator

    return changed_at_the_end
