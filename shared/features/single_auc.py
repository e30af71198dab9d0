"""How well each feature ranks the label all by itself, in three passes over the data, whatever the number of features.

Features are told apart by their place in one long column of values, so that a query has one expression, not one for each.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from shared.core.columns import identifier
from shared.core.errors import DataError
from shared.features.point_in_time import utc_micros

_QUANTILES: Final = 200
_LEVEL_BUCKETS: Final = 1_000


def single_auc(rows: DataFrame, *, numeric: Sequence[str], categorical: Sequence[str], label: str) -> dict[str, float]:
    """Return for each feature the AUC: the chance that a positive ranks above a negative, ties half.

    It is the greatest of: a numeric feature ranked by value, up or down, with missing values first or last; and any
    feature ranked by the rate of positives among the *other* rows of its bin (leave one out, so that an id, whose bins
    are single rows, earns nothing). That finds a value in the middle, a level, or missingness that gives the label away.

    Bins are the values themselves where a number has at most 200 of them, else 200 quantiles, a frequent value always
    alone: a number that ranks perfectly has at least 0.9975, while a code of more values in no order may go unseen.
    Levels are hashed into 1,000 bins. The counts of the bins are collected.

    Args:
        rows: rows; those whose label is null are left out.
        numeric: numbers, booleans, dates or timestamps; null and NaN are missing.
        categorical: anything that can be text; null is missing.
        label: 0 or 1.

    Raises:
        DataError: LABEL_ONE_CLASS when there is no pair to rank.
    """
    names = [*numeric, *categorical]
    if not names:
        return {}
    values = _values(rows, numeric, categorical, label)
    counts = _counts_by_bin(_binned(values, _edges(values, len(numeric))), names)
    return {name: greatest_auc(counts[name], is_ordered=name in numeric) for name in names}


def _values(rows: DataFrame, numeric: Sequence[str], categorical: Sequence[str], label: str) -> DataFrame:
    """Return ``is_positive, place, value``: each feature of each row with a label, by place; null is missing.

    The value is the number, or the bin of the level. As SQL text: a column object takes a call to Java for each part.
    """
    kinds = {field.name: field.dataType.typeName() for field in rows.schema.fields}
    times = [name for name in numeric if kinds[name].startswith(("date", "timestamp"))]
    timed = rows.withColumns({name: utc_micros(rows, name) for name in times}) if times else rows
    numbers = [f"nanvl(CAST(`{identifier(name)}` AS DOUBLE), NULL)" for name in numeric]
    levels = [
        f"IF(`{identifier(name)}` IS NULL, NULL, "
        f"CAST(pmod(xxhash64(CAST(`{name}` AS STRING)), {_LEVEL_BUCKETS}) AS DOUBLE))"
        for name in categorical
    ]
    return timed.where(f"`{identifier(label)}` IS NOT NULL").selectExpr(
        f"CAST(`{label}` AS INT) = 1 AS is_positive",
        f"posexplode(array({', '.join([*numbers, *levels])})) AS (place, value)",
    )


def _edges(values: DataFrame, numbers: int) -> list[list[float]]:
    """Return for each of the first ``numbers`` places the edges of its bins, none where each value is a bin."""
    shares = json.dumps([step / _QUANTILES for step in range(_QUANTILES + 1)])
    found = (
        values.where(f"place < {numbers} AND value IS NOT NULL")
        .groupBy("place")
        .agg(
            F.expr(f"percentile_approx(value, from_json('{shares}', 'array<double>'), 10000)").alias("quantiles"),
            F.expr("approx_count_distinct(value)").alias("distinct"),
        )
        .collect()
    )
    # Of 200 values the estimate is 3 % off: none of so few is taken for many.
    many = {row["place"]: row["quantiles"] for row in found if row["distinct"] > 1.25 * _QUANTILES}
    return [_around(many.get(place, ())) for place in range(numbers)]


def _around(quantiles: Sequence[float]) -> list[float]:
    # A frequent value must not share its bin with rare ones: zero for all who stay, any amount for all who leave.
    points = {edge for value in quantiles for edge in (value, math.nextafter(value, math.inf))}
    return sorted(edge for edge in points if math.isfinite(edge))


def _binned(values: DataFrame, edges: Sequence[Sequence[float]]) -> DataFrame:
    """Replace each value by its bin: the number of edges at or below it, or the value itself where there are none."""
    steps = max(map(len, edges), default=0).bit_length()
    binned = values.selectExpr("*", f"from_json('{json.dumps(edges)}', 'array<array<double>>') AS edges", "0 AS at")
    # A binary search, one projection a step: Spark compiles it, which it does not do with functions over arrays.
    for step in (2**bit for bit in reversed(range(steps))):
        is_above = f"get(get(edges, place), at + {step - 1}) <= value"
        binned = binned.selectExpr("is_positive", "place", "value", "edges", f"IF({is_above}, at + {step}, at) AS at")
    is_itself = "coalesce(size(get(edges, place)), 0) <= 0"  # levels have no place among the edges
    bin_ = f"IF(value IS NULL OR {is_itself}, value, CAST(at AS DOUBLE))"
    return binned.selectExpr("is_positive", "place", f"{bin_} AS bin")


def _counts_by_bin(binned: DataFrame, names: Sequence[str]) -> Mapping[str, dict[float | None, tuple[int, int]]]:
    """Return for each feature its bins with their numbers of positives and negatives; missing is the bin None."""
    counted = binned.groupBy("place", "bin").agg(F.expr("count_if(is_positive)").alias("ups"), F.count("*").alias("n"))
    counts: dict[str, dict[float | None, tuple[int, int]]] = {name: {} for name in names}
    for row in counted.collect():
        counts[names[row["place"]]][row["bin"]] = (row["ups"], row["n"] - row["ups"])
    totals = [sum(pair[side] for pair in counts[names[0]].values()) for side in (0, 1)]
    if not all(totals):
        raise DataError("LABEL_ONE_CLASS", f"There are {totals[0]} positive and {totals[1]} negative rows.", "Both.")
    return counts


def greatest_auc(bins: Mapping[float | None, tuple[int, int]], *, is_ordered: bool) -> float:
    """Return the AUC of one feature as `single_auc` defines it, from its bins: value → positives and negatives."""
    found = [_left_one_out_auc(bins)]
    if is_ordered:
        for place_of_missing in (-math.inf, math.inf):
            up = _auc([(place_of_missing if bin_ is None else bin_, *pair) for bin_, pair in bins.items()])
            found += [up, 1 - up]
    return max(found)


def _left_one_out_auc(bins: Mapping[float | None, tuple[int, int]]) -> float:
    """Return the AUC of bins ranked by the rate of positives among their other rows; pairs within a bin count half."""
    positives, negatives = (sum(pair[side] for pair in bins.values()) for side in (0, 1))
    prior = positives / (positives + negatives)
    scored = []
    for ups, downs in bins.values():
        others = ups + downs - 1
        scored.append(((ups - 1) / others if others else prior, ups, 0))
        scored.append((ups / others if others else prior, 0, downs))
    # Leaving itself out puts every positive below the negatives of its own bin: those pairs are all lost in `_auc`.
    within = sum(ups * downs for ups, downs in bins.values())
    return _auc(scored) + within / 2 / (positives * negatives)


def _auc(scored: Sequence[tuple[float, int, int]]) -> float:
    """Return the AUC of (score, positives, negatives); Mann & Whitney (1947), ties half."""
    positives, negatives = (sum(item[side] for item in scored) for side in (1, 2))
    tied: dict[float, list[int]] = {}
    for score, ups, downs in scored:
        at_score = tied.setdefault(score, [0, 0])
        at_score[0] += ups
        at_score[1] += downs
    won, below = 0.0, 0
    for _, (ups, downs) in sorted(tied.items()):
        won += ups * (below + downs / 2)
        below += downs
    return won / (positives * negatives)
