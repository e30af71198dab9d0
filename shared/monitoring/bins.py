"""The bins of a table's columns: learned once from the baseline, stored with the model, the same for every later window.

Numbers: bounds at the tenths of the baseline's values. Equal bounds fall together, so a column with few values has few
bins; where fewer than three bounds are left, the hundredths are taken and at most nine of them kept. A value on a bound
is in the bin above it. Categories: the most frequent levels of the baseline, at most ``max_levels``, and one bin for all
else. Null and NaN are in no bin; they are counted apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

Kind = Literal["numeric", "categorical"]

_TENTHS = 10
_ACCURACY = 10_000  # of the quantiles: off by one in so many rows
MAX_LEVELS = 50


@dataclass(frozen=True)
class ColumnBins:
    """How the values of one column are counted.

    Args:
        name: the column.
        kind: ``numeric`` or ``categorical``.
        edges: of a number, the ascending bounds between its bins.
        levels: of a category, the values with a bin of their own; the bin after them holds all others.
        hashes: Spark's ``xxhash64`` of each level: what is sent to be counted, as a number is dearer as text.
        is_complete: whether ``levels`` are all that the baseline had, so that any other is unseen.
        center: the baseline's mean: squares are summed around it, so that no digits are lost.
    """

    name: str
    kind: Kind
    edges: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()
    hashes: tuple[int, ...] = ()
    is_complete: bool = True
    center: float = 0.0

    @property
    def count(self) -> int:
        """How many bins there are."""
        return len(self.edges if self.kind == "numeric" else self.levels) + 1

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "ColumnBins":
        """Return the bins that `as_dict` wrote."""
        listed = {name: tuple(values[name]) for name in ("edges", "levels", "hashes")}
        return cls(**{**values, **listed})


def learn(
    baseline: DataFrame, *, numeric: Sequence[str], categorical: Sequence[str], max_levels: int = MAX_LEVELS
) -> list[ColumnBins]:
    """Return the bins of the columns, numbers first; two passes over the baseline.

    Args:
        baseline: the rows that later ones are compared with; cached when they are dear.
        numeric: columns whose values have an order; read as doubles.
        categorical: columns of texts.
        max_levels: levels of a category with a bin of their own.
    """
    return _numbers(baseline, numeric) + _categories(baseline, categorical, max_levels)


def as_number(name: str) -> Column:
    """Return the column as a double."""
    return F.col(name).cast("double")


def as_hash(name: str) -> Column:
    """Return a number that stands for the text; null stays null."""
    return F.when(F.col(name).isNotNull(), F.xxhash64(F.col(name).cast("string")))


def _numbers(baseline: DataFrame, names: Sequence[str]) -> list[ColumnBins]:
    if not names:
        return []
    hundredths = [place / 100 for place in range(101)]
    wanted = []
    for place, name in enumerate(names):
        value = F.nanvl(as_number(name), F.lit(None).cast("double"))
        wanted += [
            F.percentile_approx(value, hundredths, _ACCURACY).alias(f"q{place}"),
            F.avg(value).alias(f"m{place}"),
        ]
    row = baseline.agg(*wanted).collect()[0]
    return [
        ColumnBins(name, "numeric", edges=edges(row[f"q{place}"] or ()), center=row[f"m{place}"] or 0.0)
        for place, name in enumerate(names)
    ]


def edges(hundredths: Sequence[float]) -> tuple[float, ...]:
    """Return the bounds for the quantiles 0, 0.01, …, 1 of a column; none for a column without values.

    >>> edges([place for place in range(101)])
    (10, 20, 30, 40, 50, 60, 70, 80, 90)
    >>> edges([0] * 90 + [1] * 8 + [2] * 3)
    (1, 2)
    """
    if not hundredths:
        return ()
    found = _above_least(hundredths[:: 100 // _TENTHS])
    if len(found) >= 3:
        return found[: _TENTHS - 1]
    every = _above_least(hundredths)
    step = max(-(-len(every) // (_TENTHS - 1)), 1)
    return every[::step]


def _above_least(quantiles: Sequence[float]) -> tuple[float, ...]:
    return tuple(sorted(value for value in set(quantiles) if value > quantiles[0]))


def _categories(baseline: DataFrame, names: Sequence[str], max_levels: int) -> list[ColumnBins]:
    if not names:
        return []
    each = F.explode(
        F.array(
            *(
                F.struct(
                    F.lit(name).alias("name"), F.col(name).cast("string").alias("level"), as_hash(name).alias("hash")
                )
                for name in names
            )
        )
    )
    counted = (
        baseline.select(each.alias("each"))
        .select("each.*")
        .where(F.col("level").isNotNull())
        .groupBy("name", "level", "hash")
        .agg(F.count("*").alias("n"))
    )
    # One level more than has a bin tells whether there are others.
    first = F.slice(
        F.array_sort(F.collect_list(F.struct((-F.col("n")).alias("n"), "level", "hash"))), 1, max_levels + 1
    )
    found = {row["name"]: row["first"] for row in counted.groupBy("name").agg(first.alias("first")).collect()}
    bins = []
    for name in names:
        levels = found.get(name, [])
        kept = levels[:max_levels]
        bins.append(
            ColumnBins(
                name,
                "categorical",
                levels=tuple(row["level"] for row in kept),
                hashes=tuple(row["hash"] for row in kept),
                is_complete=len(levels) <= max_levels,
            )
        )
    return bins
