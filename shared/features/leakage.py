"""Guards against leaks: each refuses one way in which the future, the label or the test rows reach a model.

They read data, so they cost a pass each; a leak found here is cheaper than one found in production.
"""

from collections.abc import Sequence

from pyspark.ml import Estimator, Transformer
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from shared.core.errors import DataError

_RARE_ROWS = 20
_TOLERANCE = 1e-9


def check_time(earlier: DataFrame, later: DataFrame, *, known: str, time: str) -> None:
    """Refuse training rows whose outcome was not known yet when the later rows begin.

    Args:
        earlier: training rows.
        later: validation or test rows.
        known: column of ``earlier``: when the outcome was known (date or timestamp).
        time: column of ``later``: when the prediction is made.

    Raises:
        DataError: LEAK_TIME_OVERLAP. Null times are left out.
    """
    last = earlier.agg(F.max(known).cast("timestamp")).collect()[0][0]
    first = later.agg(F.min(time).cast("timestamp")).collect()[0][0]
    if last is not None and first is not None and last > first:
        raise DataError(
            "LEAK_TIME_OVERLAP",
            f"Training outcomes reach {last}, but the rows to predict begin {first}.",
            f"{known} of training rows at most the first {time} of the others.",
            "Split by time with a gap as long as the outcome window.",
        )


def check_groups(train: DataFrame, test: DataFrame, *, group: str) -> None:
    """Refuse a group (customer, patient, engine) that is in both parts.

    Raises:
        DataError: LEAK_GROUP_OVERLAP with the number of groups and three of them. Null is no group.
    """
    shared = train.select(group).distinct().join(test.select(group).distinct(), group)
    found = shared.agg(F.count("*"), F.min(group), F.max(group)).collect()[0]
    if found[0]:
        raise DataError(
            "LEAK_GROUP_OVERLAP",
            f"{found[0]:,} values of {group} are in both parts, e.g. {sorted({str(found[1]), str(found[2])})}.",
            "None.",
            f"Split by {group}.",
        )


def check_feature_times(rows: DataFrame, *, stamps: Sequence[str], cut: str) -> None:
    """Refuse rows with a feature that is stamped at or after the cut, the moment of prediction.

    Args:
        rows: rows with the columns.
        stamps: when each feature's newest event happened; null is no event.
        cut: date or timestamp of the prediction.

    Raises:
        DataError: LEAK_FUTURE_FEATURE naming every such column with its rows.
    """
    at = F.col(cut).cast("timestamp")
    late = rows.agg(*(F.count_if(F.col(name).cast("timestamp") >= at).alias(name) for name in stamps)).collect()[0]
    found = {name: late[name] for name in stamps if late[name]}
    if found:
        raise DataError(
            "LEAK_FUTURE_FEATURE",
            f"Features stamped at or after {cut}: rows by column {found}.",
            f"Every stamp before {cut}.",
            "Build the feature as of the snapshot.",
        )


def check_single_features(
    rows: DataFrame, *, numeric: Sequence[str], categorical: Sequence[str], label: str, max_auc: float = 0.995
) -> dict[str, float]:
    """Refuse a single feature that all but is the label, and return the AUC of each.

    A numeric feature is ranked by its value, null below all; a categorical one by the label's rate in its level, levels
    of fewer than 20 rows taken together. The greater of AUC and 1 - AUC counts.

    Args:
        rows: training rows with a 0/1 label.
        numeric, categorical: names of the features.
        label: the label.
        max_auc: features above are refused.

    Raises:
        DataError: LEAK_LABEL_IN_DISGUISE naming each such feature and its AUC.
    """
    ranked = _ranked_numbers(rows, numeric, label) + _ranked_levels(rows, categorical, label)
    if not ranked:
        return {}
    stacked = ranked[0]
    for part in ranked[1:]:
        stacked = stacked.unionByName(part)
    below = Window.partitionBy("feature").orderBy("rank").rowsBetween(Window.unboundedPreceding, -1)
    counted = stacked.withColumn("below", F.coalesce(F.sum("negatives").over(below), F.lit(0.0)))
    won = F.sum(F.col("positives") * (F.col("below") + F.col("negatives") / 2))
    pairs = F.nullif(F.sum("positives") * F.sum("negatives"), F.lit(0.0))
    auc = counted.groupBy("feature").agg((won / pairs).alias("auc")).collect()
    found = {row["feature"]: max(row["auc"], 1 - row["auc"]) for row in auc if row["auc"] is not None}
    leaks = {name: round(value, 4) for name, value in sorted(found.items()) if value > max_auc}
    if leaks:
        raise DataError(
            "LEAK_LABEL_IN_DISGUISE",
            f"Single features rank the label almost perfectly, AUC {leaks}.",
            f"At most {max_auc}.",
            "Leave the feature out, or find out how it comes to know the outcome.",
        )
    return found


def check_fit(estimator: Estimator, fitted: Transformer, train: DataFrame) -> None:
    """Refuse a transform that was not fitted on exactly the training rows.

    The estimator is fitted again on ``train``; what both make of the training rows must agree to a relative 1e-9.

    Args:
        estimator: what was fitted; deterministic, as imputers, scalers and encoders are.
        fitted: the transform in use.
        train: the training rows.

    Raises:
        DataError: LEAK_FITTED_ON_TEST naming the columns that differ and the rows.
    """
    names = [name for name in fitted.transform(train).columns if name not in train.columns]
    ours = {name: f"_used_{name}" for name in names}
    both = estimator.fit(train).transform(fitted.transform(train).withColumnsRenamed(ours))
    kinds = dict(both.dtypes)
    differing = {name: F.count_if(_differs(name, ours[name], kinds[name])).alias(name) for name in names}
    counts = both.agg(*differing.values()).collect()[0]
    found = {name: counts[name] for name in names if counts[name]}
    if found:
        raise DataError(
            "LEAK_FITTED_ON_TEST",
            f"Outputs differ from a fit on the training rows alone: rows by column {found}.",
            "A transform that has seen training rows only.",
            "Fit it after the split.",
        )


def _ranked_numbers(rows: DataFrame, numeric: Sequence[str], label: str) -> list[DataFrame]:
    if not numeric:
        return []
    pairs = F.explode(
        F.array(*(F.struct(F.lit(n).alias("feature"), F.col(n).cast("double").alias("rank")) for n in numeric))
    )
    each = rows.select(F.col(label).cast("double").alias("y"), pairs.alias("pair"))
    return [each.groupBy("pair.feature", "pair.rank").agg(_positives(), _negatives())]


def _ranked_levels(rows: DataFrame, categorical: Sequence[str], label: str) -> list[DataFrame]:
    if not categorical:
        return []
    pairs = F.explode(F.array(*(F.struct(F.lit(n).alias("feature"), F.col(n).alias("level")) for n in categorical)))
    each = rows.select(F.col(label).cast("double").alias("y"), pairs.alias("pair"))
    levels = each.groupBy("pair.feature", "pair.level").agg(_positives(), _negatives())
    total = F.col("positives") + F.col("negatives")
    pooled = levels.withColumn("level", F.when(total >= _RARE_ROWS, F.coalesce("level", F.lit("(null)"))))
    sums = pooled.groupBy("feature", "level").agg(
        F.sum("positives").alias("positives"), F.sum("negatives").alias("negatives")
    )
    return [sums.select("feature", (F.col("positives") / total).alias("rank"), "positives", "negatives")]


def _positives() -> Column:
    return F.sum("y").alias("positives")


def _negatives() -> Column:
    return F.sum(1 - F.col("y")).alias("negatives")


def _differs(left: str, right: str, kind: str) -> Column:
    if kind == "vector":
        pairs = F.arrays_zip(vector_to_array(left).alias("a"), vector_to_array(right).alias("b"))
        return F.exists(pairs, lambda pair: _is_far(pair["a"], pair["b"]))
    if kind in ("double", "float"):
        return ~F.col(left).isNull().eqNullSafe(F.col(right).isNull()) | F.coalesce(
            _is_far(F.col(left), F.col(right)), F.lit(False)
        )
    return ~F.col(left).eqNullSafe(F.col(right))


def _is_far(left: Column, right: Column) -> Column:
    return F.abs(left - right) > _TOLERANCE * F.greatest(F.abs(left), F.abs(right), F.lit(1.0))
