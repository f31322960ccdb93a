"""Rows beside their reconstructions."""

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

# In inches: an axes, the text below it, and what lies left of the first.
CELL, TEXT, LEFT = 1.1, 0.25, 0.35
# A picture's height beside its width: a longer one leaves room at its sides.
LOWEST, TALLEST = 0.3, 2.0
BEHIND = {"color": "0.8", "linewidth": 3}


class ReconstructionDisplay:
    """Originals and, below them, what a model makes of them.

    Make one by :meth:`from_estimator` or :meth:`from_predictions`: each row of X is a
    column of axes, with the original, the noisy input if there is one, and the
    reconstruction; below the last two is their peak signal-to-noise ratio in decibel.
    All parameters are stored as attributes.

    Images are drawn at one scale of colours. Signals are drawn as curves at one scale,
    a line for each channel, the original in grey behind those below it.

    Parameters
    ----------
    X_true : ndarray of shape (n_samples, n_features)
        The rows to draw, flat.
    X_pred : ndarray of shape (n_samples, n_features)
        Their reconstructions.
    psnr : ndarray of shape (n_samples,)
        Peak signal-to-noise ratio of these in dB.
    X_noisy : ndarray of shape (n_samples, n_features), default=None
        What the model got, if not ``X_true``.
    psnr_noisy : ndarray of shape (n_samples,), default=None
        Peak signal-to-noise ratio of these in dB.
    input_shape : tuple of int, default=None
        Shape that the rows were flattened from: (H, W) or (C, H, W) of images, C being
        1 or 3; (L,) or (C, L) of signals. None is (n_features,).
    value_range : (float, float), default=None
        Values that are black and white in images; None is the range of ``X_true``.

    Attributes
    ----------
    axes_ : ndarray of shape (2 or 3, n_samples) of matplotlib Axes
        Originals, noisy inputs if there are any, reconstructions.
    figure_ : matplotlib Figure
        Where they are.

    See Also
    --------
    sklearn_ae.metrics.peak_signal_noise_ratio : The figure below the pictures.
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
        """Draw what a fitted model makes of the first rows of X.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``reconstruct(X)``, or with ``transform`` and
            ``inverse_transform``, as PCA has them, or a pipeline of such steps.
        X : array-like of shape (n_samples, n_features)
            Clean rows.
        X_noisy : array-like of shape (n_samples, n_features), default=None
            What the estimator gets in their place, to be restored.
        input_shape : tuple of int, default=None
            Shape that the rows were flattened from: (H, W) or (C, H, W) of images, C
            being 1 or 3; (L,) or (C, L) of signals. None is ``estimator.input_shape``
            if there is one, else (n_features,).
        data_range : float or (float, float), default=None
            What is the peak of the signal-to-noise ratio: the least and the greatest
            value there can be, or their distance. None is the range of all of X, and 1
            if it is constant: name it where figures of several tables are compared.
        n_samples : int, default=8
            The first so many rows are drawn; all of them, if there are fewer.
        ax : ndarray of shape (2 or 3, n_samples) of matplotlib Axes, default=None
            Where to draw; three rows of them with ``X_noisy``. None is a new figure.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.
        im_kw : dict, default=None
            Parameters of ``Axes.imshow``.
        line_kw : dict, default=None
            Parameters of ``Axes.plot``, for the curves that are not behind.

        Returns
        -------
        display : ReconstructionDisplay

        Raises
        ------
        TypeError
            If the estimator has none of these methods.
        ValueError
            If X, ``X_noisy`` and the reconstructions differ in shape, if
            ``input_shape`` is not a row's, or ``ax`` has another shape than is needed.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        X_true, noisy = _checked(X, X_noisy, n_samples)
        X_given, name = (X, "X") if X_noisy is None else (X_noisy, "X_noisy")
        # What the estimator gets keeps the names of its columns.
        first = _safe_indexing(X_given, slice(0, n_samples))
        X_pred = checked_rows(_reconstruct(estimator, first), "reconstruction")
        _check_same_shape(X_pred, X_true[:n_samples], "The reconstruction", name)
        display = cls._of_rows(
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
        """Draw rows and their reconstructions.

        Parameters
        ----------
        X_true : array-like of shape (n_samples, n_features)
            Clean rows.
        X_pred : array-like of shape (n_samples, n_features)
            Their reconstructions.
        X_noisy : array-like of shape (n_samples, n_features), default=None
            What the reconstructions are of, if not ``X_true``.
        input_shape : tuple of int, default=None
            Shape that the rows were flattened from: (H, W) or (C, H, W) of images, C
            being 1 or 3; (L,) or (C, L) of signals. None is (n_features,).
        data_range : float or (float, float), default=None
            What is the peak of the signal-to-noise ratio: the least and the greatest
            value there can be, or their distance. None is the range of all of
            ``X_true``, and 1 if it is constant: name it where figures of several tables
            are compared.
        n_samples : int, default=8
            The first so many rows are drawn; all of them, if there are fewer.
        ax : ndarray of shape (2 or 3, n_samples) of matplotlib Axes, default=None
            Where to draw; three rows of them with ``X_noisy``. None is a new figure.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.
        im_kw : dict, default=None
            Parameters of ``Axes.imshow``.
        line_kw : dict, default=None
            Parameters of ``Axes.plot``, for the curves that are not behind.

        Returns
        -------
        display : ReconstructionDisplay

        Raises
        ------
        ValueError
            If ``X_true``, ``X_pred`` and ``X_noisy`` differ in shape, if
            ``input_shape`` is not a row's, or ``ax`` has another shape than is needed.

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
        display = cls._of_rows(
            X_true, X_pred[:n_samples], noisy, input_shape, data_range
        )
        return display.plot(ax=ax, cmap=cmap, im_kw=im_kw, line_kw=line_kw)

    @classmethod
    def _of_rows(cls, X, X_pred, X_noisy, input_shape, data_range):
        """Of the first rows of X, as many as there are predictions."""
        low, high = range_of(X)
        X = X[: len(X_pred)]

        def psnr(rows):
            peak = high - low if data_range is None else data_range
            return peak_signal_noise_ratio(X, rows, data_range=peak, average=False)

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
        """Draw.

        Parameters
        ----------
        ax : ndarray of shape (2 or 3, n_samples) of matplotlib Axes, default=None
            Where to draw; three rows of them with ``X_noisy``. None is a new figure.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.
        im_kw : dict, default=None
            Parameters of ``Axes.imshow``.
        line_kw : dict, default=None
            Parameters of ``Axes.plot``, for the curves that are not behind.

        Returns
        -------
        display : ReconstructionDisplay
            Itself, with ``axes_`` and ``figure_``.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        shape = drawn_shape(self.input_shape, self.X_true.shape[1])
        self.axes_ = self._grid(ax, shape)
        self.figure_ = self.axes_[0, 0].figure
        if len(shape) == 3:
            self._draw_images(shape, cmap, im_kw or {})
        else:
            self._draw_curves(shape, line_kw or {})
        self._write()
        return self

    def _rows(self):
        """Label, rows (n_samples, n_features) and dB of each row of axes."""
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
                ax.plot(rows[0][j].T, **BEHIND)
            ax.set_prop_cycle(None)
            ax.plot(rows[i][j].T, **line_kw)
            ax.set(xticks=[], ylim=(low - margin, high + margin))
            ax.tick_params(labelleft=j == 0)

    def _write(self):
        for axes, (label, _, decibels) in zip(self.axes_, self._rows(), strict=True):
            axes[0].set_ylabel(label)
            if decibels is not None:
                for ax, one in zip(axes, decibels, strict=True):
                    ax.set_xlabel(f"{one:.1f} dB")


def _checked(X, X_noisy, n_samples, name="X"):
    """All rows of X, and the first of the noisy ones."""
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
            "row is compared with its own. Give as many rows and columns of both."
        )


def _reconstruct(estimator, X):
    if hasattr(estimator, "reconstruct"):
        return estimator.reconstruct(X)
    if hasattr(estimator, "transform") and hasattr(estimator, "inverse_transform"):
        return estimator.inverse_transform(estimator.transform(X))
    raise TypeError(
        f"estimator must have reconstruct, or transform and inverse_transform, got "
        f"{estimator!r}. Draw what another model makes of X by "
        "ReconstructionDisplay.from_predictions(X, X_pred)."
    )


def _new_axes(n_rows, n_columns, shape):
    import matplotlib.pyplot as plt

    ratio = shape[1] / shape[2] if len(shape) == 3 else 1
    height = np.clip(ratio, LOWEST, TALLEST)
    # There is no text below the originals.
    size = n_columns * CELL + LEFT, n_rows * (CELL * height + TEXT) - TEXT
    # Of columns as narrow as very tall pictures the texts would overlap.
    layout = "compressed" if height == ratio else "constrained"
    _, axes = plt.subplots(
        n_rows, n_columns, figsize=size, layout=layout, squeeze=False
    )
    return axes
