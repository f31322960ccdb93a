"""Display of rows and their reconstructions."""

from numbers import Integral

import numpy as np
from sklearn.utils import _safe_indexing, check_scalar
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._plotting import _validate_style_kwargs

from sklearn_ae.metrics import peak_signal_noise_ratio
from sklearn_ae.plots._drawing import (
    checked_rows,
    drawn_shape,
    pictures,
    range_of,
    scale_for,
    shape_for,
)


class ReconstructionDisplay:
    """Reconstruction visualisation: originals above their reconstructions.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions` to
    create a `ReconstructionDisplay`. Each row of X is a column of axes, with the
    original, the noisy input if there is one, and the reconstruction. The peak
    signal-to-noise ratio (PSNR) is written below the last two. All parameters are
    stored as attributes.

    All images have the same colour scale. Signals are drawn as curves, one line per
    channel, with the same limits in all axes, and the original in grey behind its
    noisy version and its reconstruction.

    Parameters
    ----------
    X_true : ndarray of shape (n_samples, n_features)
        Original rows.
    X_pred : ndarray of shape (n_samples, n_features)
        Reconstructed rows.
    psnr : ndarray of shape (n_samples,)
        PSNR of ``X_pred`` in dB.
    X_noisy : ndarray of shape (n_samples, n_features), default=None
        Noisy input of the model. None if it was ``X_true``.
    psnr_noisy : ndarray of shape (n_samples,), default=None
        PSNR of ``X_noisy`` in dB.
    input_shape : tuple of int, default=None
        Shape that the rows were flattened from: (H, W) or (C, H, W) of images, C being
        1 or 3; (L,) or (C, L) of signals. None is (n_features,).
    value_range : (float, float), default=None
        Values drawn black and white in images. None is the range of ``X_true``.

    Attributes
    ----------
    axes_ : ndarray of shape (2 or 3, n_samples) of matplotlib Axes
        Axes of originals, of noisy inputs if there are any, and of reconstructions.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    sklearn_ae.metrics.peak_signal_noise_ratio : PSNR of reconstructed rows.
    LatentSpaceDisplay : Rows decoded from codes.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_ae import AutoencoderTransformer
    >>> from sklearn_ae.plots import ReconstructionDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> ae = AutoencoderTransformer(n_components=8, max_iter=5, random_state=0).fit(X)
    >>> ReconstructionDisplay.from_estimator(ae, X, input_shape=(8, 8))
    <...>
    >>> plt.show()  # doctest: +SKIP
    """

    def __init__(
        self,
        X_true,
        X_pred,
        *,
        psnr,
        X_noisy=None,
        psnr_noisy=None,
        input_shape=None,
        value_range=None,
    ):
        self.X_true = X_true
        self.X_pred = X_pred
        self.psnr = psnr
        self.X_noisy = X_noisy
        self.psnr_noisy = psnr_noisy
        self.input_shape = input_shape
        self.value_range = value_range

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        X_noisy=None,
        input_shape=None,
        data_range=None,
        n_samples=8,
        ax=None,
        cmap="gray",
        im_kw=None,
        line_kw=None,
    ):
        """Plot the reconstructions of the first rows of X by a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with ``reconstruct(X)``, or with ``transform`` and
            ``inverse_transform``; or a pipeline of such transformers.
        X : array-like of shape (n_samples, n_features)
            Clean rows.
        X_noisy : array-like of shape (n_samples, n_features), default=None
            Noisy rows that the estimator is to denoise. None reconstructs X.
        input_shape : tuple of int, default=None
            Shape that the rows were flattened from: (H, W) or (C, H, W) of images, C
            being 1 or 3; (L,) or (C, L) of signals. None is ``estimator.input_shape``
            if there is one, else (n_features,).
        data_range : float or (float, float), default=None
            Range of possible values for PSNR, (low, high) or its width. None is the
            range of X, or 1 if X is constant; pass it to compare several tables.
        n_samples : int, default=8
            Number of rows to plot, the first ones; all if there are fewer.
        ax : ndarray of shape (2 or 3, n_samples) of matplotlib Axes, default=None
            Axes to plot on, in three rows with ``X_noisy``. If None, a new figure is
            created.
        cmap : str or matplotlib Colormap, default="gray"
            Colormap of images with one channel.
        im_kw : dict, default=None
            Keyword arguments passed to matplotlib's ``imshow``.
        line_kw : dict, default=None
            Keyword arguments passed to matplotlib's ``plot``, except for the grey
            curves.

        Returns
        -------
        display : ReconstructionDisplay

        Raises
        ------
        TypeError
            If the estimator lacks these methods.
        ValueError
            If X, ``X_noisy`` and the reconstructions differ in shape, if
            ``input_shape`` does not multiply to n_features, or if ``ax`` has the wrong
            shape.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        X_true, noisy = _checked(X, X_noisy, n_samples)
        X_given, name = (X, "X") if X_noisy is None else (X_noisy, "X_noisy")
        # The estimator validates the names of a frame's columns.
        first = _safe_indexing(X_given, slice(0, n_samples))
        X_pred = checked_rows(_reconstruct(estimator, first), "reconstruction")
        _check_same_shape(X_pred, X_true[:n_samples], "The reconstruction", name)
        display = cls._from_rows(
            X_true, X_pred, noisy, shape_for(estimator, input_shape), data_range
        )
        return display.plot(ax=ax, cmap=cmap, im_kw=im_kw, line_kw=line_kw)

    @classmethod
    def from_predictions(
        cls,
        X_true,
        X_pred,
        *,
        X_noisy=None,
        input_shape=None,
        data_range=None,
        n_samples=8,
        ax=None,
        cmap="gray",
        im_kw=None,
        line_kw=None,
    ):
        """Plot rows and their reconstructions.

        Parameters
        ----------
        X_true : array-like of shape (n_samples, n_features)
            Clean rows.
        X_pred : array-like of shape (n_samples, n_features)
            Reconstructed rows.
        X_noisy : array-like of shape (n_samples, n_features), default=None
            Noisy rows that were reconstructed. None if it was ``X_true``.
        input_shape : tuple of int, default=None
            Shape that the rows were flattened from: (H, W) or (C, H, W) of images, C
            being 1 or 3; (L,) or (C, L) of signals. None is (n_features,).
        data_range : float or (float, float), default=None
            Range of possible values for PSNR, (low, high) or its width. None is the
            range of ``X_true``, or 1 if it is constant; pass it to compare several
            tables.
        n_samples : int, default=8
            Number of rows to plot, the first ones; all if there are fewer.
        ax : ndarray of shape (2 or 3, n_samples) of matplotlib Axes, default=None
            Axes to plot on, in three rows with ``X_noisy``. If None, a new figure is
            created.
        cmap : str or matplotlib Colormap, default="gray"
            Colormap of images with one channel.
        im_kw : dict, default=None
            Keyword arguments passed to matplotlib's ``imshow``.
        line_kw : dict, default=None
            Keyword arguments passed to matplotlib's ``plot``, except for the grey
            curves.

        Returns
        -------
        display : ReconstructionDisplay

        Raises
        ------
        ValueError
            If ``X_true``, ``X_pred`` and ``X_noisy`` differ in shape, if
            ``input_shape`` does not multiply to n_features, or if ``ax`` has the wrong
            shape.

        Examples
        --------
        >>> import matplotlib.pyplot as plt
        >>> import numpy as np
        >>> from sklearn_ae.plots import ReconstructionDisplay
        >>> X = np.sin(np.linspace(0, 6, 50) + np.arange(3)[:, np.newaxis])
        >>> display = ReconstructionDisplay.from_predictions(X, X + 0.2)
        >>> display.psnr.round(1)
        array([20., 20., 20.])
        >>> plt.show()  # doctest: +SKIP
        """
        check_matplotlib_support(f"{cls.__name__}.from_predictions")
        X_true, noisy = _checked(X_true, X_noisy, n_samples, name="X_true")
        X_pred = checked_rows(X_pred, "X_pred")
        _check_same_shape(X_pred, X_true, "X_pred", "X_true")
        display = cls._from_rows(
            X_true, X_pred[:n_samples], noisy, input_shape, data_range
        )
        return display.plot(ax=ax, cmap=cmap, im_kw=im_kw, line_kw=line_kw)

    @classmethod
    def _from_rows(cls, X, X_pred, X_noisy, input_shape, data_range):
        """Make a display of as many rows of X as there are predictions."""
        low, high = range_of(X)
        X = X[: len(X_pred)]

        def psnr(rows):
            width = high - low if data_range is None else data_range
            return peak_signal_noise_ratio(X, rows, data_range=width, average=False)

        return cls(
            X,
            X_pred,
            psnr=psnr(X_pred),
            X_noisy=X_noisy,
            psnr_noisy=None if X_noisy is None else psnr(X_noisy),
            input_shape=input_shape,
            value_range=(low, high),
        )

    def plot(self, *, ax=None, cmap="gray", im_kw=None, line_kw=None):
        """Plot visualisation.

        Parameters
        ----------
        ax : ndarray of shape (2 or 3, n_samples) of matplotlib Axes, default=None
            Axes to plot on, in three rows with ``X_noisy``. If None, a new figure is
            created.
        cmap : str or matplotlib Colormap, default="gray"
            Colormap of images with one channel.
        im_kw : dict, default=None
            Keyword arguments passed to matplotlib's ``imshow``.
        line_kw : dict, default=None
            Keyword arguments passed to matplotlib's ``plot``, except for the grey
            curves.

        Returns
        -------
        display : ReconstructionDisplay
            Object that stores the plotted values and the matplotlib objects.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        shape = drawn_shape(self.input_shape, self.X_true.shape[1])
        self.axes_ = self._grid(ax, shape)
        self.figure_ = self.axes_[0, 0].figure
        if len(shape) == 3:
            self._draw_images(shape, cmap, im_kw or {})
        else:
            self._draw_curves(shape, line_kw or {})
        self._write_labels()
        return self

    def _rows(self):
        """Return label, rows (n_samples, n_features) and PSNR of each row of axes."""
        rows = [
            ("original", self.X_true, None),
            ("noisy", self.X_noisy, self.psnr_noisy),
            ("reconstruction", self.X_pred, self.psnr),
        ]
        return [row for row in rows if row[1] is not None]

    def _grid(self, ax, shape):
        n_rows, n_columns = len(self._rows()), len(self.X_true)
        if ax is None:
            return _new_axes(n_rows, n_columns, shape)
        axes = np.asarray(ax, dtype=object)
        if axes.shape != (n_rows, n_columns):
            raise ValueError(
                f"ax must be an array of axes of shape {(n_rows, n_columns)}, a column "
                f"for each row that is drawn, got shape {axes.shape}. Make it by "
                f"plt.subplots({n_rows}, {n_columns}, squeeze=False)[1]."
            )
        return axes

    def _draw_images(self, shape, cmap, im_kw):
        low, high = scale = scale_for(self.value_range, self.X_true)
        default = {"cmap": cmap, "vmin": low, "vmax": high}
        im_kw = _validate_style_kwargs(default, im_kw)
        for axes, (_, X, _) in zip(self.axes_, self._rows(), strict=True):
            for ax, picture in zip(axes, pictures(X, shape, scale), strict=True):
                ax.imshow(picture, **im_kw)
                ax.set(xticks=[], yticks=[])

    def _draw_curves(self, shape, line_kw):
        rows = [X.reshape(-1, *shape) for _, X, _ in self._rows()]
        low, high = range_of(rows)
        margin = 0.05 * (high - low)
        line_kw = _validate_style_kwargs({"linewidth": 1.2}, line_kw)
        for (i, j), ax in np.ndenumerate(self.axes_):
            if i > 0:
                ax.plot(rows[0][j].T, color="0.8", linewidth=3)
            ax.set_prop_cycle(None)
            ax.plot(rows[i][j].T, **line_kw)
            ax.set(xticks=[], ylim=(low - margin, high + margin))
            ax.tick_params(labelleft=j == 0)

    def _write_labels(self):
        for axes, (label, _, decibels) in zip(self.axes_, self._rows(), strict=True):
            axes[0].set_ylabel(label)
            if decibels is not None:
                for ax, psnr in zip(axes, decibels, strict=True):
                    ax.set_xlabel(f"{psnr:.1f} dB")


def _checked(X, X_noisy, n_samples, name="X"):
    """Validate both tables; return all rows of X and the first noisy ones."""
    check_scalar(n_samples, "n_samples", Integral, min_val=1)
    X = checked_rows(X, name)
    if X_noisy is None:
        return X, None
    X_noisy = checked_rows(X_noisy, "X_noisy")
    _check_same_shape(X_noisy, X, "X_noisy", name)
    return X, X_noisy[:n_samples]


def _check_same_shape(rows, X, name, name_of_X):
    if rows.shape != X.shape:
        raise ValueError(
            f"{name} has shape {rows.shape}, but {name_of_X} has shape {X.shape}: each "
            "row is compared with its reconstruction. Pass the same rows of both."
        )


def _reconstruct(estimator, X):
    if hasattr(estimator, "reconstruct"):
        return estimator.reconstruct(X)
    if hasattr(estimator, "transform") and hasattr(estimator, "inverse_transform"):
        return estimator.inverse_transform(estimator.transform(X))
    raise TypeError(
        f"estimator must have reconstruct, or transform and inverse_transform, got "
        f"{estimator!r}. For other models use "
        "ReconstructionDisplay.from_predictions(X, X_pred)."
    )


def _new_axes(n_rows, n_columns, shape):
    import matplotlib.pyplot as plt

    ratio = shape[1] / shape[2] if len(shape) == 3 else 1
    # An image that is much longer than wide, or the reverse, leaves a margin.
    height = np.clip(ratio, 0.3, 2.0)
    # In inches: an axes' width, the text below it, and the labels left of the first.
    axes_width, text, left = 1.1, 0.25, 0.35
    # There is no text below the originals.
    size = n_columns * axes_width + left, n_rows * (axes_width * height + text) - text
    # A compressed layout of very tall images would be too narrow for the texts.
    layout = "compressed" if height == ratio else "constrained"
    _, axes = plt.subplots(
        n_rows, n_columns, figsize=size, layout=layout, squeeze=False
    )
    return axes
