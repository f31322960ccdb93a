"""What a call borrows from torch and numpy's global state, and gives back."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.utils import check_random_state
from threadpoolctl import ThreadpoolController

# Above this many multiply-adds a step, a second thread earns more than it costs.
# Below, on a busy machine, two threads are many times slower than one.
MIN_FLOPS_FOR_THREADS = 2e9

_lock = threading.Lock()
_depth = 0
_n_threads_outside = 1


def random_generator(random_state: object) -> np.random.RandomState:
    """scikit-learn's ``check_random_state``, except that None is fresh entropy.

    With None scikit-learn draws from numpy's global generator and moves it on; here
    the global generator is neither read nor moved.
    """
    return check_random_state(
        np.random.RandomState() if random_state is None else random_state
    )


def torch_generator(random: np.random.RandomState) -> torch.Generator:
    """A torch generator of its own, seeded by the next draw of ``random``."""
    return torch.Generator().manual_seed(int(random.randint(2**31 - 1)))


def resolve_device(device: str) -> torch.device:
    """The torch device that ``device`` names; "auto" is CUDA where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={device!r} can't be used here: {str(error).splitlines()[0]}. "
            "Use device='auto' or device='cpu'."
        ) from error
    return resolved


@contextmanager
def few_threads(flops_per_step: float = 0.0) -> Iterator[None]:
    """One thread for small work, torch's own number for large; restored on exit.

    The linear algebra libraries below numpy are held to one thread as well: their
    results depend on the number of threads in the last bit, and with it everything
    that is trained from them, which would then change with ``n_jobs``.
    """
    global _depth, _n_threads_outside
    n_threads_here = torch.get_num_threads()
    with _lock:
        if _depth == 0:
            _n_threads_outside = n_threads_here
        _depth += 1
    n_threads = _n_threads_outside if flops_per_step > MIN_FLOPS_FOR_THREADS else 1
    try:
        torch.set_num_threads(n_threads)
        with _controller().limit(limits=1, user_api="blas"):
            yield
    finally:
        with _lock:
            _depth -= 1
            # Of fits that overlap in time, the last puts back what the first found.
            torch.set_num_threads(n_threads_here if _depth else _n_threads_outside)


@contextmanager
def gradients() -> Iterator[None]:
    """Gradients on, even inside a caller's ``no_grad`` or ``inference_mode``."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


_controllers: list[ThreadpoolController] = []


def _controller() -> ThreadpoolController:
    # Looking up the loaded libraries costs milliseconds: once a process is enough.
    if not _controllers:
        _controllers.append(ThreadpoolController())
    return _controllers[0]
