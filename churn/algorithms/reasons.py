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
from shared.core.parallel import spread
from shared.evaluation.calibration import log_odds

CHANGED = "_changed"


def typical_values(train: DataFrame, inputs: Inputs) -> dict[str, float | str | None]:
    """Return the median of every numeric and the most frequent level of every categorical feature (ties: the least)."""
    medians = [F.percentile_approx(F.col(name).cast("double"), 0.5, 10_000).alias(name) for name in inputs.numeric]
    levels = [F.mode(F.col(name), deterministic=True).alias(name) for name in inputs.categorical]
    row = train.agg(*medians, *levels).first()
    return row.asDict() if row else {}


def with_contributions(
    rows: DataFrame, model: Transformer, inputs: Inputs, typical: Mapping[str, object], *, key: Sequence[str]
) -> DataFrame:
    """Add `probability` and `contributions`, an array of (feature, value, contribution) with the largest first.

    Features that have the typical value are left out: they contribute nothing. The model scores one row for each
    feature that differs.

    Args:
        rows: rows with the feature columns; read twice.
        model: adds `probability` and keeps the columns of ``key`` and `CHANGED`.
        inputs: the feature columns.
        typical: from `typical_values`.
        key: columns that tell rows apart; null is a value like any other.
    """
    variants = F.array_compact(
        F.array(F.lit(-1), *(F.when(_differs(name, typical), F.lit(i)) for i, name in enumerate(inputs.names)))
    )
    exploded = spread(rows, *key).withColumn(CHANGED, F.explode(variants))
    changed = exploded.withColumns(
        {
            name: F.when(F.col(CHANGED) == i, F.lit(typical[name]).cast(kind)).otherwise(F.col(name))
            for i, (name, kind) in enumerate(_kinds(rows, inputs.names))
        }
    )
    scored = model.transform(changed).select(*key, CHANGED, PROBABILITY)
    whole = F.max(F.when(F.col(CHANGED) == -1, F.col(PROBABILITY)))
    without = F.collect_list(F.when(F.col(CHANGED) >= 0, F.struct(CHANGED, PROBABILITY)))
    own = {name: f"_key_{name}" for name in key}
    grouped = scored.groupBy(*key).agg(whole.alias(PROBABILITY), without.alias("_without")).withColumnsRenamed(own)
    names = F.array(*(F.lit(name) for name in inputs.names))
    values = F.array(*(F.col(name).cast("string") for name in inputs.names))
    contributions = F.transform(
        "_without",
        lambda item: F.struct(
            F.get(names, item[CHANGED]).alias("feature"),
            F.get(F.col("_values"), item[CHANGED]).alias("value"),
            F.round(log_odds(F.col(PROBABILITY)) - log_odds(item[PROBABILITY]), 6).alias("contribution"),
        ),
    )
    ordered = F.array_sort(contributions, _larger_first)
    is_same = [F.col(name).eqNullSafe(F.col(copy)) for name, copy in own.items()]
    joined = rows.withColumn("_values", values).join(grouped, is_same)
    return joined.withColumn("contributions", ordered).drop("_without", "_values", *own.values())


def mean_absolute(contributed: DataFrame, inputs: Inputs) -> list[tuple[str, float]]:
    """Return each feature with its mean absolute contribution over all rows, largest first."""
    row = contributed.agg(*(F.avg(_size_of(name)).alias(name) for name in inputs.names)).first()
    found = row.asDict() if row else {}
    return sorted(((name, value or 0.0) for name, value in found.items()), key=lambda pair: (-pair[1], pair[0]))


def _size_of(name: str) -> Column:
    own = F.filter("contributions", lambda item: item["feature"] == name)
    return F.aggregate(own, F.lit(0.0), lambda sofar, item: sofar + F.abs(item["contribution"]))


def _differs(name: str, typical: Mapping[str, object]) -> Column:
    return ~F.col(name).eqNullSafe(F.lit(typical[name]))


def _kinds(rows: DataFrame, names: Sequence[str]) -> list[tuple[str, str]]:
    kinds = dict(rows.dtypes)
    return [(name, kinds[name]) for name in names]


def _larger_first(left: Column, right: Column) -> Column:
    by_size = F.abs(right["contribution"]) - F.abs(left["contribution"])
    by_name = F.when(left["feature"] < right["feature"], -1).otherwise(1)
    return F.when(by_size == 0, by_name).otherwise(F.signum(by_size)).cast("int")
