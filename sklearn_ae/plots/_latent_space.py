"""Display of a two-dimensional latent space."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_scalar
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._plotting import _validate_style_kwargs

from sklearn_ae.plots._drawing import (
    checked_rows,
    drawn_shape,
    pictures,
    range_of,
    scale_for,
    shape_for,
)


class LatentSpaceDisplay:
    """Latent space visualisation: rows decoded from a grid of two-dimensional codes.

    It is recommended to use :meth:`from_estimator` to create a `LatentSpaceDisplay`.
    Decoded rows are drawn as tiles of one axes, each centred at its code: the first
    component is the x axis, the second the y axis. All parameters are stored as
    attributes.

    Parameters
    ----------
    X_decoded : ndarray of shape (n_points, n_points, n_features)
        Decoded rows. ``X_decoded[i, j]`` has the code (x[j], y[i]), where x and y are
        evenly spaced between the limits, including both.
    limits : array-like of shape (2, 2)
        Minimum and maximum of the first and of the second component.
    input_shape : tuple of int, default=None
        Shape that rows were flattened from: (H, W) or (C, H, W) of images, C being 1 or
        3; (L,) or (C, L) of signals, drawn as curves. None is (n_features,).
    value_range : (float, float), default=None
        Values drawn black and white in images. None is the range of ``X_decoded``.
        Curves are always scaled to the range of ``X_decoded``.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the tiles; its coordinates are codes.
    figure_ : matplotlib Figure
        Figure of the axes.
    im_ : matplotlib AxesImage or None
        Tiled images, of shape (n_points * H, n_points * W), or with a further axis of 3
        colours; None for signals.
    lines_ : list of matplotlib Line2D or None
        Curves, in the order of ``X_decoded`` and then of channels; None for images.

    See Also
    --------
    ReconstructionDisplay : Rows and their reconstructions.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_ae import AutoencoderTransformer
    >>> from sklearn_ae.plots import LatentSpaceDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> ae = AutoencoderTransformer(n_components=2, max_iter=5, random_state=0).fit(X)
    >>> LatentSpaceDisplay.from_estimator(ae, X, input_shape=(8, 8))
    <...>
    >>> plt.show()  # doctest: +SKIP
    """

    def __init__(self, X_decoded, *, limits, input_shape=None, value_range=None):
        self.X_decoded = X_decoded
        self.limits = limits
        self.input_shape = input_shape
        self.value_range = value_range

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X=None,
        *,
        limits=None,
        n_points=15,
        input_shape=None,
        ax=None,
        cmap="gray",
        im_kw=None,
        line_kw=None,
    ):
        """Plot rows decoded from a grid of codes.

        Parameters
        ----------
        estimator : estimator
            Fitted transformer with two components and ``inverse_transform``, and with
            ``transform`` if X is given; or a pipeline of such transformers.
        X : array-like of shape (n_samples, n_features), default=None
            Rows whose codes determine the limits of the grid, and whose values
            determine the colour scale of images. It may be None if ``limits`` is given.
        limits : array-like of shape (2, 2), default=None
            Minimum and maximum of the first and of the second component,
            ``((low, high), (low, high))``. None is the 2.5 % and 97.5 % quantiles of
            each component of the codes of X.
        n_points : int, default=15
            Number of grid points along each axis, at least 2.
        input_shape : tuple of int, default=None
            Shape that rows were flattened from: (H, W) or (C, H, W) of images, C being
            1 or 3; (L,) or (C, L) of signals, drawn as curves. None is
            ``estimator.input_shape`` if there is one, else (n_features,).
        ax : matplotlib Axes, default=None
            Axes object to plot on. If None, a new figure and axes are created.
        cmap : str or matplotlib Colormap, default="gray"
            Colormap of images with one channel.
        im_kw : dict, default=None
            Keyword arguments passed to matplotlib's ``imshow``.
        line_kw : dict, default=None
            Keyword arguments passed to matplotlib's ``plot``.

        Returns
        -------
        display : LatentSpaceDisplay

        Raises
        ------
        TypeError
            If the estimator lacks a method.
        ValueError
            If codes do not have two components, if both X and ``limits`` are None, if
            limits do not ascend, or if ``input_shape`` does not multiply to n_features.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_scalar(n_points, "n_points", Integral, min_val=2)
        _check_methods(estimator, X)
        X_code = _codes(estimator, X)
        limits = _central_limits(X_code) if limits is None else limits
        limits = _checked_limits(limits)
        decoded = estimator.inverse_transform(_grid(limits, n_points))
        decoded = checked_rows(decoded, "X_decoded")
        display = cls(
            decoded.reshape(n_points, n_points, -1),
            limits=limits,
            input_shape=shape_for(estimator, input_shape),
            value_range=None if X is None else range_of(checked_rows(X, "X")),
        )
        return display.plot(ax=ax, cmap=cmap, im_kw=im_kw, line_kw=line_kw)

    def plot(self, *, ax=None, cmap="gray", im_kw=None, line_kw=None):
        """Plot visualisation.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes object to plot on. If None, a new figure and axes are created.
        cmap : str or matplotlib Colormap, default="gray"
            Colormap of images with one channel.
        im_kw : dict, default=None
            Keyword arguments passed to matplotlib's ``imshow``.
        line_kw : dict, default=None
            Keyword arguments passed to matplotlib's ``plot``.

        Returns
        -------
        display : LatentSpaceDisplay
            Object that stores the plotted values and the matplotlib objects.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        shape = drawn_shape(self.input_shape, self.X_decoded.shape[2])
        self.ax_ = _new_axes() if ax is None else ax
        self.figure_ = self.ax_.figure
        self.im_ = self.lines_ = None
        if len(shape) == 3:
            self._draw_images(shape, cmap, im_kw or {})
        else:
            self._draw_curves(shape, line_kw or {})
        self.ax_.set(xlabel="component 0", ylabel="component 1")
        return self

    def _steps(self):
        low, high = np.transpose(self.limits)
        return (high - low) / (len(self.X_decoded) - 1)

    def _extent(self):
        """Return the limits (2, 2) of the tiles, whose centres are at the codes."""
        margin = self._steps()[:, np.newaxis] / 2 * [-1, 1]
        return np.asarray(self.limits) + margin

    def _draw_images(self, shape, cmap, im_kw):
        low, high = scale = scale_for(self.value_range, self.X_decoded)
        # imshow draws the first row at the top, where the second component is highest.
        images = pictures(self.X_decoded[::-1], shape, scale)
        dx, dy = self._steps()
        default = {
            "cmap": cmap,
            "vmin": low,
            "vmax": high,
            "extent": self._extent().ravel(),
            # Pixels are drawn square, whatever the ranges of the codes.
            "aspect": (dx / shape[2]) / (dy / shape[1]),
        }
        im_kw = _validate_style_kwargs(default, im_kw)
        self.im_ = self.ax_.imshow(_tiled(images, len(self.X_decoded)), **im_kw)
        self._draw_gaps()

    def _draw_gaps(self):
        """Separate images by white lines of 1.5 points."""
        (left, right), (bottom, top) = extent = self._extent()
        n_edges = len(self.X_decoded) + 1
        x, y = (np.linspace(*ends, n_edges)[1:-1] for ends in extent)
        self.ax_.vlines(x, bottom, top, colors="white", linewidth=1.5)
        self.ax_.hlines(y, left, right, colors="white", linewidth=1.5)

    def _draw_curves(self, shape, line_kw):
        low, high = range_of(self.X_decoded)
        # A curve fills 85 % of its tile's sides, which separates it from the others.
        curves = ((self.X_decoded - low) / (high - low) - 0.5) * 0.85
        along = np.linspace(-0.5, 0.5, shape[1]) * 0.85
        dx, dy = self._steps()
        line_kw = _validate_style_kwargs({"linewidth": 1}, line_kw)
        self.lines_ = []
        for (x, y), row in zip(
            _grid(self.limits, len(curves)), curves.reshape(-1, *shape), strict=True
        ):
            self.ax_.set_prop_cycle(None)
            self.lines_ += self.ax_.plot(x + dx * along, y + dy * row.T, **line_kw)
        self.ax_.set(**dict(zip(("xlim", "ylim"), self._extent(), strict=True)))


def _check_methods(estimator, X):
    needed = ["inverse_transform"] if X is None else ["transform", "inverse_transform"]
    missing = [name for name in needed if not hasattr(estimator, name)]
    if missing:
        raise TypeError(
            f"estimator must have {' and '.join(needed)}, got {estimator!r} without "
            f"{' and '.join(missing)}. Use PCA or AutoencoderTransformer with "
            "n_components=2."
        )


def _codes(estimator, X):
    """Return the codes (n_samples, 2) of X; None if X is None."""
    if X is None:
        X_code, n_components = None, getattr(estimator, "n_components_", 2)
    else:
        X_code = checked_rows(estimator.transform(X), "codes")
        n_components = X_code.shape[1]
    if n_components != 2:
        raise ValueError(
            f"estimator has {n_components} components, but the display draws two. Fit "
            "it with n_components=2."
        )
    return X_code


def _central_limits(X_code):
    if X_code is None:
        raise ValueError(
            "limits=None and X=None leave open which codes to decode. Give X, whose "
            "codes determine the limits, or limits=((low, high), (low, high))."
        )
    return np.quantile(X_code, (0.025, 0.975), axis=0).T


def _checked_limits(limits):
    checked = np.asarray(limits, dtype=float)
    if checked.shape != (2, 2) or not np.isfinite(checked).all():
        raise ValueError(
            "limits must be finite and of shape (2, 2), ((low, high), (low, high)) of "
            f"the two components, got {limits!r}."
        )
    if not (checked[:, 0] < checked[:, 1]).all():
        raise ValueError(
            "limits must ascend, ((low, high), (low, high)) with low < high, got "
            f"{checked.tolist()}. If they come from the codes of X, one component is "
            "the same for nearly all rows: give limits."
        )
    return checked


def _grid(limits, n_points):
    """Return codes (n_points**2, 2); the first component varies fastest."""
    x, y = (np.linspace(low, high, n_points) for low, high in limits)
    return np.column_stack([np.tile(x, n_points), np.repeat(y, n_points)])


def _tiled(images, n_points):
    """Tile images (n_points**2, H, W, ...) to one with n_points rows of them."""
    _, height, width, *colours = images.shape
    grid = images.reshape(n_points, n_points, height, width, *colours)
    size = n_points * height, n_points * width
    return grid.swapaxes(1, 2).reshape(*size, *colours)


def _new_axes():
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=(6, 6), layout="constrained")
    return ax
