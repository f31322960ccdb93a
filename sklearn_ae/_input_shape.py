"""Shapes of the images or signals that rows were flattened from."""

import math
from numbers import Integral

# Smallest side of an image, in pixels: a first number below it is a count of channels.
MIN_SIDE = 8


def folded_shape(input_shape, n_features):
    """Return channels and sides of the image or signal that a row was flattened from.

    Parameters
    ----------
    input_shape : tuple of int
        (H, W) or (C, H, W) of an image, (L,) or (C, L) of a signal; rows are flattened
        in C order. Two numbers are (C, L) if the first is below 8, since sides of
        images are 8 or more. A side of 1 is dropped: (C, 1, L) is a signal, whatever
        its number of channels.
    n_features : int
        Length of a row.

    Returns
    -------
    shape : tuple of int
        (C, L) or (C, H, W).

    Raises
    ------
    TypeError
        If it is not a tuple or list of integers.
    ValueError
        If the numbers are not positive, are none or more than three, do not multiply to
        ``n_features``, or have the channels last: two of 8 or more, then one below.
    """
    if not isinstance(input_shape, tuple | list) or not all(
        isinstance(n, Integral) and not isinstance(n, bool) for n in input_shape
    ):
        raise TypeError(
            "input_shape must be a tuple of integers, (H, W) or (C, H, W) of an image, "
            f"(L,) or (C, L) of a signal, got {input_shape!r}."
        )
    if not 1 <= len(input_shape) <= 3 or min(input_shape) < 1:
        raise ValueError(
            "input_shape must be one to three positive integers, (H, W) or (C, H, W) "
            f"of an image, (L,) or (C, L) of a signal, got {input_shape!r}."
        )
    n_cells = math.prod(input_shape)
    if n_cells != n_features:
        raise ValueError(
            f"input_shape={input_shape!r} holds {n_cells} numbers, but X has "
            f"{n_features} features. Set the shape that a row of X was flattened from."
        )
    if len(input_shape) == 3 and input_shape[2] < MIN_SIDE <= min(input_shape[:2]):
        raise ValueError(
            f"input_shape={input_shape!r} has its channels last. Put them first, in "
            "input_shape and in the rows: images.transpose(0, 3, 1, 2).reshape(n, -1)."
        )
    return _channels_first(tuple(int(n) for n in input_shape))


def _channels_first(shape):
    if len(shape) == 1 or (len(shape) == 2 and shape[0] >= MIN_SIDE):
        shape = (1, *shape)
    channels, *sides = shape
    return channels, *([n for n in sides if n > 1] or [1])
