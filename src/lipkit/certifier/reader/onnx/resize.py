"""Rules of Resize and Upsample: a matrix along each axis, its entries from exact fractions."""

import math
from fractions import Fraction

import numpy as np

from lipkit.certifier import graph as g
from lipkit.certifier.reader.onnx.folding import rows_of

HALF = Fraction(1, 2)
# the place in the input of entry i: (i, entries of the input, of the output, scale)
_PLACES = {
    "half_pixel": lambda i, n, m, s: (i + HALF) / s - HALF,
    "half_pixel_symmetric": lambda i, n, m, s: (i + HALF) / s - HALF + HALF * (n - m / s),
    "pytorch_half_pixel": lambda i, n, m, s: (i + HALF) / s - HALF if m > 1 else Fraction(0),
    "align_corners": lambda i, n, m, s: Fraction(i * (n - 1), max(m - 1, 1)),
    "asymmetric": lambda i, n, m, s: i / s,
    "tf_half_pixel_for_nn": lambda i, n, m, s: (i + HALF) / s,
}
_EXACT = ("half_pixel", "pytorch_half_pixel", "asymmetric")  # in floats, for powers of two
_NEAREST = {
    "round_prefer_floor": lambda x: math.ceil(x - HALF),
    "round_prefer_ceil": lambda x: math.floor(x + HALF),
    "floor": math.floor,
    "ceil": math.ceil,
}


def _matrix(places, size):
    """Linear interpolation at places (fractions) of an axis of this size."""
    matrix = np.zeros((len(places), size))
    for row, place in enumerate(places):
        place = min(max(place, Fraction(0)), Fraction(size - 1))
        low = math.floor(place)
        matrix[row, low] += float(1 - (place - low))
        if place != low:
            matrix[row, low + 1] = float(place - low)
    return matrix


def _factors(call, scales, sizes):
    """(axis of the file, entries of the output, scale) of each axis that is named."""
    axes = call.attribute("axes", None)
    given = scales if sizes is None else sizes
    axes = range(len(given)) if axes is None else [a + len(call.whole) * (a < 0) for a in axes]
    if call.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise call.refusal("keep_aspect_ratio_policy has no rule")
    for axis, value in zip(axes, given, strict=True):
        n = call.whole[axis]  # None for the batch's
        if sizes is not None:
            yield axis, int(value), n and Fraction(int(value), n)
        elif value > 0:
            yield axis, n and math.floor(n * Fraction(float(value))), Fraction(float(value))
        else:
            raise call.refusal(f"its scales must be positive. Received: {value}")


def _resized(call, scales, sizes, mode, place, nearest):
    if place not in _PLACES or nearest not in _NEAREST or mode not in ("nearest", "linear"):
        raise call.refusal(
            f"mode={mode!r}, coordinate_transformation_mode={place!r}, nearest_mode={nearest!r} "
            f"have no rule: only nearest and linear of {', '.join(_PLACES)}"
        )
    matrices = []
    for axis, size, scale in _factors(call, scales, sizes):
        if axis == 0 and not call.alone and (scale == 1 or rows_of(size) == 1):
            continue  # all samples
        at = call.axis(axis)
        n = call.shapes[0][at]
        if size < 1:
            raise call.refusal(f"it leaves {size} entries of an axis")
        if (size, scale) == (n, 1):
            continue
        places = [_PLACES[place](i, n, size, scale) for i in range(size)]
        if mode == "nearest":
            places = [Fraction(_NEAREST[nearest](x)) for x in places]
        elif place not in _EXACT or not _is_power_of_two(scale):
            call.rewritten = True  # the weights are rounded, in another way by each runtime
        matrices.append((at, _matrix(places, n)))
    return [g.AxisMaps(tuple(matrices))] if matrices else []


def _is_power_of_two(fraction):
    n, m = fraction.numerator, fraction.denominator
    return n & (n - 1) == 0 and m & (m - 1) == 0


def _resize(call):
    if call.opset < 11:  # scales alone, as Upsample
        return _upsample(call)
    for name in ("cubic_coeff_a", "extrapolation_value"):
        call.attribute(name)
    call.either("roi", 1)  # of tf_crop_and_resize, which has no rule
    if call.attribute("antialias", 0) or call.attribute("exclude_outside", 0):
        raise call.refusal("antialias and exclude_outside have no rule")
    scales, sizes = call.either("", 2), call.either("", 3)
    scales = None if scales is not None and not scales.size else scales
    mode = call.attribute("mode", "nearest")
    place = call.attribute("coordinate_transformation_mode", "half_pixel")
    nearest = call.attribute("nearest_mode", "round_prefer_floor")
    return _resized(call, scales, sizes, mode, place, nearest)


def _upsample(call):
    scales, mode = call.either("scales", 1), call.attribute("mode", "nearest")
    return _resized(call, scales, None, mode, "asymmetric", "floor")


RULES = {"Resize": _resize, "Upsample": _upsample}
