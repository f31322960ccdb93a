"""State that a call takes and puts back: threads, generators, gradients, attributes."""

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import shorten

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


@contextmanager
def fork_torch_rng(
    random: np.random.RandomState, device: str | torch.device
) -> Iterator[None]:
    """Seed torch's global generators, which dropout draws from; put them back on exit.

    The seed is the next draw of a copy of ``random``.
    """
    seed = int(copy.deepcopy(random).randint(2**31 - 1))
    devices = [device] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed(seed)
        yield


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


class _Threads:
    """The process's thread settings, while any number of contexts hold them down."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_open = self._n_on_blas = 0
        self._controller: ThreadpoolController | None = None

    def enter(self, n_torch: int, *, blas: bool) -> int:
        """Limit BLAS with the first that asks; return torch's number before any."""
        with self._lock:
            if self._n_open == 0:
                self._n_torch = n_torch
            if blas and self._n_on_blas == 0:
                # Looking up the loaded libraries costs milliseconds: once is enough.
                self._controller = self._controller or ThreadpoolController()
                self._limits = self._controller.limit(limits=1, user_api="blas")
            self._n_open += 1
            self._n_on_blas += blas
            return self._n_torch

    def leave(self, n_torch: int, *, blas: bool) -> int:
        """Return torch's number to go back to; free BLAS with the last that asked."""
        with self._lock:
            self._n_open -= 1
            self._n_on_blas -= blas
            if blas and self._n_on_blas == 0:
                self._limits.restore_original_limits()
            return n_torch if self._n_open else self._n_torch


_threads = _Threads()


@contextmanager
def limit_threads(flops_per_step: float = 0.0, *, blas: bool = True) -> Iterator[None]:
    """One thread for small work, torch's own number for large; restored on exit.

    If ``blas``, the linear algebra libraries below numpy are held to one thread as
    well: their results depend on the number of threads in the last bit, and with it
    everything that is trained from them, which would then change with ``n_jobs``.
    """
    n_here = torch.get_num_threads()
    n_outside = _threads.enter(n_here, blas=blas)
    try:
        torch.set_num_threads(
            n_outside if flops_per_step > MIN_FLOPS_FOR_THREADS else 1
        )
        yield
    finally:
        torch.set_num_threads(_threads.leave(n_here, blas=blas))


@contextmanager
def enable_gradients() -> Iterator[None]:
    """Gradients on, even inside a caller's ``no_grad`` or ``inference_mode``."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


@contextmanager
def all_or_nothing(estimator: object) -> Iterator[None]:
    """Put back the estimator's attributes if the block fails."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
