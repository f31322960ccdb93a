"""The learning rate over a fit."""

import math


def one_cycle(step: int, n_steps: int, warm_up: float = 0.1) -> float:
    """Share of the peak learning rate at ``step`` of ``n_steps``.

    A linear rise over the first ``warm_up`` of the steps, then half a cosine down to
    zero (Smith and Topin, 2019. Super-convergence. arXiv 1708.07120).
    """
    done = (step + 0.5) / max(n_steps, 1)
    if done < warm_up:
        return done / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warm_up) / (1 - warm_up))))
