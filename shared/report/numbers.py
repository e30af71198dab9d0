"""Numbers as people read them, and how far an observed rate can be trusted.

Rounding is for the eye only: nothing here is to be parsed or computed with again. None and NaN are written as a dash.
"""

import math

NONE = "–"


def number(value: float | int | str | None) -> str:
    """Return a number with four significant digits, thousands separators and a true minus sign; text stays as it is.

    >>> number(1234567), number(0.123456), number(-1234.5), number(None), number("v3")
    ('1,234,567', '0.1235', '−1,234', '–', 'v3')
    """
    if value is None or isinstance(value, str):
        return NONE if value is None else value
    if isinstance(value, bool | int):
        return str(value) if isinstance(value, bool) else _signed(f"{value:,}")
    if not math.isfinite(value):
        return _not_finite(value)
    return _signed(f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}")


def alike(value: float | None, model: float, digits: int = 3) -> str:
    """Return ``value`` with the decimals that give ``model`` so many significant digits, so that numbers line up.

    >>> alike(0.5, 0.8476), alike(4.2, 2.853), alike(0.01, 0.01105), alike(None, 1.0)
    ('0.500', '4.20', '0.0100', '–')
    """
    if value is None:
        return NONE
    if not math.isfinite(value):
        return _not_finite(value)
    order = math.floor(math.log10(abs(model))) if model and math.isfinite(model) else -1
    return _signed(f"{value:,.{min(max(digits - 1 - order, 0), 6)}f}")


def percent(rate: float | None) -> str:
    """Return a rate as a percentage with one decimal, two below one in a thousand; more than none is never nothing.

    >>> percent(0.0712), percent(0.00042), percent(0.00000003), percent(0.0), percent(None)
    ('7.1%', '0.04%', '<0.01%', '0%', '–')
    """
    if rate is None or not math.isfinite(rate):
        return NONE if rate is None else _not_finite(rate)
    if rate == 0:
        return "0%"
    if abs(rate) < 0.00005:
        return "<0.01%"
    return _signed(f"{rate:.2%}" if abs(rate) < 0.001 else f"{rate:.1%}")


def points(difference: float) -> str:
    """Return a difference of two rates in percentage points.

    >>> points(0.034), points(-0.1)
    ('3.4 points', '−10.0 points')
    """
    return _signed(f"{100 * difference:.1f} points")


def money(amount: float | None) -> str:
    """Return an amount without cents.

    >>> money(12345.6), money(-120.0), money(None)
    ('12,346', '−120', '–')
    """
    if amount is None or not math.isfinite(amount):
        return NONE if amount is None else _not_finite(amount)
    whole = round(amount)
    return f"{'−' if whole < 0 else ''}{abs(whole):,}"


def wilson(rate: float, rows: int, z: float = 1.96) -> tuple[float, float]:
    """Return the interval of a rate observed on ``rows`` rows (Wilson 1927); without rows it is all of [0, 1].

    Args:
        rate: observed share, 0 to 1.
        rows: number of independent rows.
        z: half-width in standard errors; 1.96 holds 95 %.

    >>> tuple(round(bound, 4) for bound in wilson(0.1, 100))
    (0.0552, 0.1744)
    """
    if rows <= 0:
        return 0.0, 1.0
    shrunk = 1 + z * z / rows
    centre = (rate + z * z / (2 * rows)) / shrunk
    half = z / shrunk * math.sqrt(rate * (1 - rate) / rows + z * z / (4 * rows * rows))
    # Of a rate of 0 or 1, one bound is the rate itself, but for rounding.
    return max(min(centre - half, rate), 0.0), min(max(centre + half, rate), 1.0)


def _signed(text: str) -> str:
    is_zero = text.startswith("-") and not any(digit in text.split("e")[0] for digit in "123456789")
    return text[1:] if is_zero else text.replace("-", "−")


def _not_finite(value: float) -> str:
    return NONE if math.isnan(value) else ("∞" if value > 0 else "−∞")
