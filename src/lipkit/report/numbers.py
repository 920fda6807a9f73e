"""Numbers as texts: three significant digits, and never a promise that is too large."""

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal

DIGITS = 3
NEAR = 1e-4  # relative: a bound so little above a round number is shown as that and its excess


def _rounded(value, rounding, digits=DIGITS) -> Decimal:
    """A number rounded from its shortest notation."""
    return Context(prec=digits, rounding=rounding).create_decimal(repr(float(value)))


def _text(value: Decimal):
    value = value.normalize() if value else Decimal(0)  # no -0
    short = -5 < value.adjusted() < 9
    return (f"{value:,f}" if short else f"{value:e}").replace("-", "−").replace("e+", "e")


def number(value, digits=DIGITS) -> str:
    """A number, rounded."""
    return _text(_rounded(value, ROUND_HALF_EVEN, digits)) if math.isfinite(value) else str(value)


def at_most(value) -> str:
    """A proven upper bound, rounded up: `1 + 2e−7` rather than 1.01."""
    if not math.isfinite(value):
        return str(value)
    near = _rounded(value, ROUND_HALF_EVEN)
    excess = Decimal(repr(float(value))) - near
    if 0 < excess <= Decimal(NEAR) * near:
        return f"{_text(near)} + {_text(_rounded(excess, ROUND_CEILING, 2))}"
    return _text(_rounded(value, ROUND_CEILING))


def at_least(value) -> str:
    """A proven lower bound, such as a radius, rounded down."""
    return _text(_rounded(value, ROUND_FLOOR)) if math.isfinite(value) else str(value)


def rounded_down(value) -> float:
    """The number that `at_least` shows."""
    return float(_rounded(value, ROUND_FLOOR))


def percent(count, n) -> str:
    """A share; 100.0 % only where nothing is missing."""
    rounded = min(round(1000 * int(count) / int(n)), 999) if count < n else 1000
    return f"{rounded / 10:.1f} %"


def changed(value, change) -> tuple[str, str, str]:
    """Value, change and their sum, with the decimals that show the change."""
    decimals = max(0, DIGITS - 1 - math.floor(math.log10(abs(change) or 1.0)))
    if decimals > 9 or abs(value) > 1e9:
        return number(value, 9), number(change), number(value + change, 9)
    before, step, after = (
        _text(Decimal(f"{v:.{decimals}f}")) for v in (value, change, value + change)
    )
    return before, f"+{step}" if change > 0 else step, after
