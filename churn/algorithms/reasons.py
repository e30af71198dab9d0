"""Why a customer has a score: signed contributions of the features, for any fitted model.

The contribution of a feature is the change of the log-odds when its value is put in place of the training set's typical
one (median or most frequent level), the other features as they are. For a linear model that is coefficient times
distance from the median; where features are correlated, each shows only what it adds alone.
"""

from collections.abc import Mapping, Sequence

from pyspark.ml import Transformer
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn.algorithms.candidates import PROBABILITY, Inputs

_CHANGED = "_changed"
_CLIP = 1e-6


def typical_values(train: DataFrame, inputs: Inputs) -> dict[str, float | str | None]:
    """Return the median of every numeric and the most frequent level of every categorical feature (ties: the least)."""
    medians = [F.percentile_approx(F.col(name).cast("double"), 0.5, 10_000).alias(name) for name in inputs.numeric]
    levels = [F.mode(F.col(name), deterministic=True).alias(name) for name in inputs.categorical]
    row = train.agg(*medians, *levels).first()
    return row.asDict() if row else {}


def with_contributions(rows: DataFrame, model: Transformer, inputs: Inputs, typical: Mapping[str, object]) -> DataFrame:
    """Add `probability` and `contributions`, an array of (feature, value, contribution) with the largest first.

    Features that have the typical value are left out: they contribute nothing. The model scores one row for each
    feature that differs.

    Args:
        rows: rows with the feature columns and a unique column `_row`.
        model: adds `probability` and keeps `_row` and `_changed`.
        inputs: the feature columns.
        typical: from `typical_values`.
    """
    variants = F.array_compact(
        F.array(F.lit(-1), *(F.when(_differs(name, typical), F.lit(i)) for i, name in enumerate(inputs.names)))
    )
    exploded = rows.withColumn(_CHANGED, F.explode(variants))
    changed = exploded.withColumns(
        {
            name: F.when(F.col(_CHANGED) == i, F.lit(typical[name]).cast(kind)).otherwise(F.col(name))
            for i, (name, kind) in enumerate(_kinds(rows, inputs.names))
        }
    )
    scored = model.transform(changed).select("_row", _CHANGED, PROBABILITY)
    whole = F.max(F.when(F.col(_CHANGED) == -1, F.col(PROBABILITY)))
    without = F.collect_list(F.when(F.col(_CHANGED) >= 0, F.struct(_CHANGED, PROBABILITY)))
    grouped = scored.groupBy("_row").agg(whole.alias(PROBABILITY), without.alias("_without"))
    names = F.array(*(F.lit(name) for name in inputs.names))
    values = F.array(*(F.col(name).cast("string") for name in inputs.names))
    contributions = F.transform(
        "_without",
        lambda item: F.struct(
            F.get(names, item[_CHANGED]).alias("feature"),
            F.get(F.col("_values"), item[_CHANGED]).alias("value"),
            F.round(_log_odds(F.col(PROBABILITY)) - _log_odds(item[PROBABILITY]), 6).alias("contribution"),
        ),
    )
    ordered = F.array_sort(contributions, _larger_first)
    joined = rows.withColumn("_values", values).join(grouped, "_row")
    return joined.withColumn("contributions", ordered).drop("_without", "_values")


def mean_absolute(contributed: DataFrame, inputs: Inputs) -> list[tuple[str, float]]:
    """Return each feature with its mean absolute contribution over all rows, largest first."""
    total = F.lit(0.0)
    sums = [
        F.avg(
            F.aggregate(
                F.filter("contributions", lambda item, name=name: item["feature"] == name),
                total,
                lambda sofar, item: sofar + F.abs(item["contribution"]),
            )
        ).alias(name)
        for name in inputs.names
    ]
    row = contributed.agg(*sums).first()
    found = row.asDict() if row else {}
    return sorted(((name, value or 0.0) for name, value in found.items()), key=lambda pair: (-pair[1], pair[0]))


def _differs(name: str, typical: Mapping[str, object]) -> Column:
    return ~F.col(name).eqNullSafe(F.lit(typical[name]))


def _kinds(rows: DataFrame, names: Sequence[str]) -> list[tuple[str, str]]:
    kinds = dict(rows.dtypes)
    return [(name, kinds[name]) for name in names]


def _log_odds(probability: Column) -> Column:
    clipped = F.greatest(F.least(probability, F.lit(1 - _CLIP)), F.lit(_CLIP))
    return F.log(clipped / (1 - clipped))


def _larger_first(left: Column, right: Column) -> Column:
    by_size = F.abs(right["contribution"]) - F.abs(left["contribution"])
    by_name = F.when(left["feature"] < right["feature"], -1).otherwise(1)
    return F.when(by_size == 0, by_name).otherwise(F.signum(by_size)).cast("int")
