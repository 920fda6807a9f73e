"""Axes that draw themselves as SVG in the colours of the page, light or dark."""

import numpy as np

from lipkit.report.markup import Html, tag
from lipkit.report.numbers import number

TICK = 6  # digits at most: these numbers are round
LETTER = 9  # the width of a digit, on a telephone
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 480, 52, 26, 26, 46


def ticks(low, high, count, whole):
    """Round numbers, or whole ones, from low to high."""
    from matplotlib.ticker import MaxNLocator

    locator = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10], integer=whole)
    values = locator.tick_values(low, high)
    slack = 1e-9 * (high - low)
    return [float(v) for v in values if low - slack <= v <= high + slack]


def left_of(ends) -> int:
    """Where a frame can begin beside the numbers of its second axis."""
    return max(LEFT, 14 + _widest(ticks(*ends, 5, False)))


def _widest(values):
    """The width of the longest of some numbers."""
    return LETTER * max((len(number(value, TICK)) for value in values), default=0)


def _points(x, y):
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


class Axes:
    """A frame with labelled axes; `svg` closes it.

    Args:
        x, y: the ends (low, high) of the axes.
        x_label, y_label: what the axes show, with units.
        height: of the picture; its width is 480.
        left: where the frame begins.
        log: whether the first axis is logarithmic.
        whole: the axes that count: "", "x" or "y".
    """

    def __init__(self, x, y, x_label, y_label, *, height=290, left=LEFT, log=False, whole=""):
        self._scale = np.log10 if log else np.asarray
        self.x_range, self.y_range, self.log, self.whole = x, y, log, whole
        self.height, self.left = height, left
        self.marks = self._grid(x_label, y_label)

    def x(self, value):
        """The place of a value on the first axis."""
        low, high = self._scale(self.x_range)
        return self.left + (self._scale(value) - low) / (high - low) * (WIDTH - self.left - RIGHT)

    def y(self, value):
        """The place of a value on the second axis."""
        low, high = self.y_range
        bottom = self.height - BOTTOM
        return bottom - (np.asarray(value) - low) / (high - low) * (bottom - TOP)

    def _x_ticks(self):
        if not self.log:
            found = ticks(*self.x_range, 6, "x" in self.whole)
            apart = float(self.x(found[1]) - self.x(found[0])) if len(found) > 1 else WIDTH
            fits = _widest(found) < apart
            return found if fits else ticks(*self.x_range, 3, "x" in self.whole)
        low, high = np.log10(self.x_range)
        exponents = np.arange(np.ceil(low - 1e-9), np.floor(high + 1e-9) + 1)
        step = 1 + len(exponents) // 7
        return [float(10.0**e) for e in exponents[::step]]

    def _grid(self, x_label, y_label):
        bottom, right = self.height - BOTTOM, WIDTH - RIGHT
        parts = [self.text(self.left, 14, y_label, "axis-name")] if y_label else []
        for value in ticks(*self.y_range, 5, "y" in self.whole) if y_label else ():
            y = self.y(value)
            parts += [
                tag("line", x1=self.left, x2=right, y1=y, y2=y, class_="grid"),
                self.text(self.left - 7, y + 4.5, number(value, TICK), "tick", "end"),
            ]
        for value in self._x_ticks():
            x = self.x(value)
            parts += [
                tag("line", x1=x, x2=x, y1=bottom, y2=bottom + 5, class_="axis"),
                self.text(x, bottom + 20, number(value, TICK), "tick", "middle"),
            ]
        parts.append(tag("line", x1=self.left, x2=right, y1=bottom, y2=bottom, class_="axis"))
        if x_label:
            parts.append(self.text(right, self.height - 5, x_label, "axis-name", "end"))
        return parts

    @staticmethod
    def text(x, y, text, class_, anchor=None) -> Html:
        """A text with its base line at a place of the picture."""
        return tag("text", text, x=x, y=y, class_=class_, text_anchor=anchor)

    def dot(self, x, y, class_):
        """A dot at a place of the picture."""
        self.marks.append(tag("circle", cx=x, cy=y, r=3.5, class_=f"dot {class_}"))

    def line(self, x, y, class_):
        """A line through points; a single one is a dot."""
        x, y = self.x(x), self.y(y)
        if len(x) == 1:
            self.dot(x[0], y[0], class_)
        else:
            self.marks.append(tag("polyline", points=_points(x, y), class_=f"line {class_}"))

    def area(self, x, low, high, class_):
        """The region between two lines over the same x."""
        x = self.x(x)
        outline = np.concatenate([x, x[::-1]]), np.concatenate([self.y(high), self.y(low)[::-1]])
        self.marks.append(tag("polygon", points=_points(*outline), class_=f"area {class_}"))

    def bars(self, edges, counts, class_):
        """A histogram."""
        edges, zero = self.x(edges), self.y(0)
        for left, right, top in zip(edges[:-1], edges[1:], self.y(counts), strict=True):
            if top < zero:
                size = {"width": right - left - 1, "height": zero - top}
                self.marks.append(tag("rect", x=left + 0.5, y=top, **size, class_=class_))

    def upright(self, value):
        """A dotted line at a value of the first axis."""
        x, bottom = self.x(value), self.height - BOTTOM
        self.marks.append(tag("line", x1=x, x2=x, y1=TOP - 4, y2=bottom, class_="upright"))

    def svg(self, description) -> Html:
        """The picture, with a description for those who do not see it."""
        view = f"0 0 {WIDTH} {self.height}"
        return tag("svg", self.marks, viewBox=view, role="img", aria_label=description)
