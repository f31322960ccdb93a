"""The guide's two pictures, from scikit-learn's digits.

``python docs/pictures.py [FOLDER]``: by default they go beside this file.
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_ae import AutoencoderTransformer

N_COMPONENTS, N_SAMPLES = 16, 12
NORMAL = {"latent": "gaussian", "prior": "normal"}


def draw(folder, max_iter=200):
    """Fit the autoencoders and write latent.png and samples.png.

    Parameters
    ----------
    folder : path-like
        That exists.
    max_iter : int
        Iterations of each fit at the most.
    """
    digits = load_digits(return_X_y=True)
    train, test, _, y_test = train_test_split(*digits, random_state=0)
    # All pixels have the same unit.
    shared = {"scale": None, "max_iter": max_iter, "random_state": 0}
    figures = {
        "latent": latent(train, test, y_test, shared),
        "samples": samples(train, test, shared),
    }
    for name, figure in figures.items():
        figure.savefig(Path(folder) / f"{name}.png", dpi=100)


def latent(train, test, y_test, shared):
    """Draw codes of held-out digits, with two components: plain and variational."""
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    kinds = {"plain": {}, "variational": NORMAL}
    for axes, (kind, params) in zip(figure.subplots(1, 2), kinds.items(), strict=True):
        model = AutoencoderTransformer(2, **params, **shared).fit(train)
        Z = model.transform(test)
        dots = axes.scatter(*Z.T, 7, y_test, cmap="tab10")
        inside = np.mean(np.linalg.norm(Z, axis=1) < 2)
        shares = f"{model.score(test):.0%} explained, {inside:.0%} in the circle"
        _decorate(axes, f"{kind}: {shares}")
    figure.legend(*dots.legend_elements(), loc="outside lower center", ncols=10)
    return figure


def _decorate(axes, title):
    angle = np.linspace(0, 2 * np.pi, 200)
    axes.plot(2 * np.cos(angle), 2 * np.sin(angle), "k--", linewidth=1)
    axes.set_title(title, fontsize="medium")
    axes.set(xlabel="component 1", ylabel="component 2")
    axes.set_aspect("equal", "datalim")
    axes.grid(alpha=0.3)


def samples(train, test, shared):
    """Draw held-out digits above sampled ones, a row for each way to sample."""
    rows = {"real, held out": test[:N_SAMPLES]} | _drawn(train, shared)
    figure = Figure(figsize=(8, 3.3), layout="constrained")
    for axes, (title, X) in zip(figure.subplots(len(rows)), rows.items(), strict=True):
        framed = np.pad(X.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
        axes.imshow(np.hstack(framed), cmap="gray_r", vmin=0, vmax=16)
        axes.set_ylabel(title, rotation=0, ha="right", va="center")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return figure


def _drawn(train, shared):
    model = partial(AutoencoderTransformer, N_COMPONENTS, **shared)
    plain = model(prior="mixture").fit(train)
    codes = np.random.default_rng(0).normal(size=(N_SAMPLES, N_COMPONENTS))
    # The decoder's means: noise in each pixel would hide the shapes.
    drawn = {"n_samples": N_SAMPLES, "noise": False, "random_state": 0}
    return {
        "plain, N(0, I)": plain.inverse_transform(codes),
        "plain, mixture": plain.sample(**drawn),
        "variational, normal": model(**NORMAL).fit(train).sample(**drawn),
        "variational, mixture": model(latent="gaussian").fit(train).sample(**drawn),
    }


if __name__ == "__main__":
    draw(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
