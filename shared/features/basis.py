"""Bases that let a linear model bend: hinges, natural cubic splines, powers and products.

Knots are learned from training rows.

`fit` returns Spark's own SQLTransformer with the knots written into its statement, so a saved pipeline loads anywhere.
"""

from collections.abc import Mapping, Sequence

from pyspark.ml import Estimator
from pyspark.ml.feature import SQLTransformer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from shared.core.columns import identifier
from shared.core.errors import ConfigError
from shared.features.sql_steps import adding

_ACCURACY = 10_000


class HingeBasis(Estimator[SQLTransformer]):
    """Adds ``max(0, x - k)`` for knots k at evenly spaced quantiles: a piecewise linear curve (linear B-spline space).

    Knots that coincide count once, and those at the least or greatest value are left out, so a 0/1 column gets none.
    Null stays null.

    Args:
        inputCols: numeric columns.
        knots: number of quantiles, at 1/(knots+1), …, knots/(knots+1) of the training rows.
    """

    def __init__(self, inputCols: Sequence[str], knots: int = 5) -> None:  # noqa: N803 - as in pyspark.ml
        super().__init__()
        if knots < 1:
            raise ConfigError("KNOTS_INVALID", f"{knots} knots.", "At least 1.")
        self.input_columns = [identifier(name) for name in inputCols]
        self.knots = knots

    def _fit(self, dataset: DataFrame) -> SQLTransformer:
        knots = quantiles(dataset, self.input_columns, self.knots)
        return adding(
            f"{_above(name, knot)} AS `{output}`"
            for name in self.input_columns
            for knot, output in zip(knots[name], hinge_columns(name, len(knots[name])), strict=True)
        )


class NaturalSpline(Estimator[SQLTransformer]):
    """Adds the restricted cubic spline basis of Harrell (Regression Modeling Strategies, 2015, section 2.4.5).

    With knots t1 < … < tk, term j = 1 … k-2 is
    ``(x-tj)+^3 - (x-t[k-1])+^3 (tk-tj)/(tk-t[k-1]) + (x-tk)+^3 (t[k-1]-tj)/(tk-t[k-1])``, over ``(tk-t1)^2``; together
    with x itself the curve is linear beyond the outer knots. Columns with fewer than three distinct knots get no term.
    Null stays null.

    Args:
        inputCols: numeric columns.
        knots: number of quantiles, at least 3.
    """

    def __init__(self, inputCols: Sequence[str], knots: int = 5) -> None:  # noqa: N803 - as in pyspark.ml
        super().__init__()
        if knots < 3:
            raise ConfigError("KNOTS_INVALID", f"{knots} knots.", "At least 3.")
        self.input_columns = [identifier(name) for name in inputCols]
        self.knots = knots

    def _fit(self, dataset: DataFrame) -> SQLTransformer:
        knots = quantiles(dataset, self.input_columns, self.knots)
        return adding(
            f"{text} AS `{name}__s{place}`"
            for name in self.input_columns
            for place, text in enumerate(_cubic_terms(name, knots[name]))
        )


def powers(columns: Sequence[str], degree: int) -> SQLTransformer:
    """Return the step that adds ``<name>__p2`` … ``<name>__p<degree>``; null stays null.

    Raises:
        ConfigError: the degree is below 2.
    """
    if degree < 2:
        raise ConfigError("DEGREE_INVALID", f"Degree {degree}.", "At least 2.")
    return adding(
        f"power(`{identifier(name)}`, {exponent}) AS `{name}__p{exponent}`"
        for name in columns
        for exponent in range(2, degree + 1)
    )


def products(pairs: Sequence[tuple[str, str]]) -> SQLTransformer:
    """Return the step that adds the interaction ``<left>__x__<right>`` of each pair of numeric columns; null when one is."""
    return adding(f"`{identifier(left)}` * `{identifier(right)}` AS `{left}__x__{right}`" for left, right in pairs)


def hinge_columns(name: str, count: int) -> list[str]:
    """Return the names of the hinges of a column.

    >>> hinge_columns("tenure", 2)
    ['tenure__h0', 'tenure__h1']
    """
    return [f"{name}__h{place}" for place in range(count)]


def quantiles(rows: DataFrame, columns: Sequence[str], count: int) -> Mapping[str, list[float]]:
    """Return ``count`` evenly spaced inner quantiles of each column, without repeats and without its extremes.

    Nulls and NaN are left out; one pass over the rows.
    """
    shares = [(place + 1) / (count + 1) for place in range(count)]
    finite = {name: F.when(~F.isnan(F.col(name).cast("double")), F.col(name).cast("double")) for name in columns}
    found = rows.agg(
        *(F.percentile_approx(finite[name], shares, _ACCURACY).alias(name) for name in columns),
        *(F.min(finite[name]).alias(f"{name}__min") for name in columns),
        *(F.max(finite[name]).alias(f"{name}__max") for name in columns),
    ).collect()[0]
    return {
        name: sorted({knot for knot in found[name] or [] if found[f"{name}__min"] < knot < found[f"{name}__max"]})
        for name in columns
    }


def _above(name: str, knot: float) -> str:
    # The last branch is 0 for a number and null for null, which `greatest` would turn into 0.
    return f"IF(`{name}` > {knot!r}D, `{name}` - {knot!r}D, `{name}` * 0.0D)"


def _cubic_terms(name: str, knots: Sequence[float]) -> list[str]:
    if len(knots) < 3:
        return []
    first, before_last, last = knots[0], knots[-2], knots[-1]
    width, scale = last - before_last, (last - first) ** 2

    def cube(knot: float) -> str:
        return f"power({_above(name, knot)}, 3)"

    return [
        f"({cube(knot)} - {cube(before_last)} * {(last - knot) / width!r}D"
        f" + {cube(last)} * {(before_last - knot) / width!r}D) / {scale!r}D"
        for knot in knots[:-2]
    ]
