"""Profiles: how the values of many columns lie in their bins, for every window and slice, from one pass over the rows.

Spark's generated code is slow for hundreds of aggregates: each takes longer than a value takes on its way to Python, and a
method over 8,000 bytes is never compiled. So rows go in Arrow batches to numpy, which counts a column at a time; a few
hundred numbers per task come back and are added up by Spark.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pyspark import cloudpickle
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from shared.monitoring import counting
from shared.monitoring.bins import ColumnBins, as_hash, as_number
from shared.monitoring.counting import Marks

# A worker of a cluster, or of Spark Connect, need not have this package: the module goes along with the function.
cloudpickle.register_pickle_by_value(counting)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Profile:
    """One column in one window and slice.

    Args:
        window: the window, as text that sorts by time.
        slice_key, slice_value: the part of the rows; both None for all. A null value of a slice is ``(none)``.
        column: the column.
        rows: rows of the window and slice.
        nulls: of these without a value: null or NaN.
        counts: rows in each bin of the column.
        mean, deviation, least, greatest: of the values of a number (deviation of the population); None for a category,
            and without values.
    """

    window: str
    slice_key: str | None
    slice_value: str | None
    column: str
    rows: int
    nulls: int
    counts: tuple[int, ...]
    mean: float | None = None
    deviation: float | None = None
    least: float | None = None
    greatest: float | None = None

    @property
    def values(self) -> int:
        """Rows with a value."""
        return self.rows - self.nulls


def profile(
    rows: DataFrame,
    bins: Sequence[ColumnBins],
    *,
    window: Column | None = None,
    slices: Mapping[str, Column] | None = None,
) -> list[Profile]:
    """Return a profile for every window, slice and column; the rows are read once.

    Args:
        rows: rows with the columns of ``bins``.
        bins: from `shared.monitoring.bins.learn`.
        window: the window of a row; without it all rows are in one, called ``all``.
        slices: name → value of a row, for parts of the rows that are profiled beside all of them. Few values each: every
            value of every slice costs memory in each task.
    """
    parts = dict(slices or {})
    of_window = F.lit(None) if window is None else F.coalesce(window.cast("string"), F.lit("(none)"))
    packed = [
        of_window.cast("string").alias("_window"),
        *(F.coalesce(v.cast("string"), F.lit("(none)")).alias(f"_slice{i}") for i, v in enumerate(parts.values())),
        *(_countable(each).alias(f"_{place}") for place, each in enumerate(bins)),
    ]
    marks = [Marks(b.kind == "numeric", b.edges if b.kind == "numeric" else b.hashes, b.center) for b in bins]
    cells = rows.select(*packed).mapInArrow(
        partial(counting.count, columns=marks, slice_count=len(parts)), counting.CELLS
    )
    key = ("window", "slice_place", "slice_value", "column_place")
    number = (
        F.when(F.col("cell") == counting.LEAST, F.min("value"))
        .when(F.col("cell") == counting.GREATEST, F.max("value"))
        .otherwise(F.sum("value"))
    )
    added = cells.groupBy(*key, "cell").agg(number.alias("value"))
    found = added.groupBy(*key).agg(F.map_from_entries(F.collect_list(F.struct("cell", "value"))).alias("cells"))
    names: list[str | None] = [None, *parts]
    profiles = [_profile(row, bins[row["column_place"]], names[row["slice_place"]]) for row in found.collect()]
    return sorted(profiles, key=lambda p: (p.window, p.slice_key or "", p.slice_value or "", p.column))


def _countable(bins: ColumnBins) -> Column:
    if bins.kind == "numeric":
        return F.coalesce(as_number(bins.name), F.lit(float("nan")))
    return F.coalesce(as_hash(bins.name), F.lit(counting.NO_HASH))


def _profile(row: Row, bins: ColumnBins, slice_key: str | None) -> Profile:
    cells: dict[int, float] = row["cells"]
    counts = tuple(int(cells[place]) for place in range(bins.count))
    nulls, values = int(cells[counting.NULLS]), sum(counts)
    moments: dict[str, float] = {}
    if bins.kind == "numeric" and values:
        away = cells[counting.SUM] / values
        spread = max(cells[counting.SQUARES] / values - away * away, 0.0)
        moments = {"mean": bins.center + away, "deviation": spread**0.5}
        moments |= {"least": cells[counting.LEAST], "greatest": cells[counting.GREATEST]}
    return Profile(row["window"], slice_key, row["slice_value"], bins.name, values + nulls, nulls, counts, **moments)
