"""Bootstrap intervals by unit: customers are drawn, not rows, since rows of one customer resemble each other.

Every replicate gives each unit a Poisson(1) weight that is a hash of unit, replicate and seed (Hanley & MacGibbon 2006),
so nothing is collected and a repeat gives the same interval. For the ranks, scores within one per cent of the odds tie.
"""

import math
from collections.abc import Sequence
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from shared.core.draws import uniform
from shared.core.errors import ConfigError, did_you_mean
from shared.evaluation.scored import check, rank_sums, scored

METRICS: Final = ("auc", "pr_auc", "log_loss", "brier", "lift_at_10pct")
_MOST: Final = 8  # a Poisson(1) weight beyond has a chance of one in a million


def intervals(
    predictions: DataFrame,
    *,
    unit: str,
    label: str,
    probability: str,
    metrics: Sequence[str] = METRICS,
    replicates: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Return percentile intervals of ``metrics``; replicates with one class are left out.

    Log loss and Brier score are exact in every replicate. The ranks of the others are those of buckets of 0.01 in the
    log-odds, which moves an AUC by at most half the share of pairs that fall into one bucket. The calibration error has
    no interval: resampling adds noise to every bin, so that its replicates lie above the value of the rows themselves.

    The work grows with rows times replicates; for many millions of rows ask for fewer replicates.

    Args:
        predictions: rows with ``unit``, ``label`` (0/1) and ``probability``.
        unit: column that is drawn; rows where it is null are one unit.
        label, probability: names of the columns.
        metrics: some of `METRICS`.
        replicates: number of replicates, at least 20.
        level: share of replicates inside the interval.
        seed: another seed draws others.

    Raises:
        ConfigError: too few replicates, a level outside (0, 1), or a metric that is not in `METRICS`.
        DataError, ModelError: as `shared.evaluation.binary.evaluate`.
    """
    check_options(metrics, replicates, level)
    rows = scored(predictions, label, probability, unit=F.xxhash64(unit))
    check(rows, label, probability)
    tails = F.array(F.lit((1 - level) / 2), F.lit((1 + level) / 2))
    found = (
        per_replicate(weighted(rows, range(replicates), seed))
        .agg(*(F.percentile(name, tails).alias(name) for name in metrics))
        .collect()[0]
    )
    return {name: (float(found[name][0]), float(found[name][1])) for name in metrics if found[name]}


def weighted(rows: DataFrame, replicates: range, seed: int) -> DataFrame:
    """Return per replicate and bucket what metrics are sums of, with each unit of ``rows`` drawn Poisson(1) times.

    Args:
        rows: from `shared.evaluation.scored.scored`, with the key ``unit``.
        replicates: their numbers; in a replicate with a negative number every unit is drawn once.
        seed: another seed draws others; equal seeds draw the same units for other scores of the same rows.
    """
    drawn = rows.withColumn("replicate", F.explode(F.sequence(F.lit(replicates.start), F.lit(replicates.stop - 1))))
    times = _poisson(F.xxhash64(F.lit(seed), "replicate", "unit"))
    if replicates.start < 0:
        times = F.when(F.col("replicate") < 0, 1).otherwise(times)
    return (
        drawn.withColumn("times", times)
        .where("times > 0")
        .groupBy("replicate", "bucket")
        .agg(
            F.sum("times").cast("double").alias("n"),
            *(
                F.sum(F.col("times") * F.col(source)).alias(name)
                for name, source in {"positives": "y", "log_loss": "log_loss", "squared_error": "squared_error"}.items()
            ),
        )
    )


def per_replicate(by_score: DataFrame) -> DataFrame:
    """Return ``replicate`` and its `METRICS`, for each replicate of `weighted` rows that has both classes."""
    replicate = Window.partitionBy("replicate")
    above = replicate.orderBy(F.col("bucket").desc()).rowsBetween(Window.unboundedPreceding, -1)
    ranked = by_score.withColumns(
        {
            "n_above": F.coalesce(F.sum("n").over(above), F.lit(0.0)),
            "positives_above": F.coalesce(F.sum("positives").over(above), F.lit(0.0)),
            "top": F.ceil(F.sum("n").over(replicate) / 10).cast("double"),
        }
    )
    sums = ranked.groupBy("replicate").agg(
        *rank_sums(F.col("top")),
        *(F.sum(name).alias(name) for name in ("n", "positives", "log_loss", "squared_error")),
        F.first("top").alias("top"),
    )
    n, positives = F.col("n"), F.col("positives")
    return sums.where("positives > 0 AND positives < n").select(
        "replicate",
        (F.col("won") / (positives * (n - positives))).alias("auc"),
        (F.col("precision") / positives).alias("pr_auc"),
        (F.col("log_loss") / n).alias("log_loss"),
        (F.col("squared_error") / n).alias("brier"),
        (F.col("top_positives") / F.col("top") / (positives / n)).alias("lift_at_10pct"),
    )


def _poisson(hashed: Column) -> Column:
    """Return a Poisson(1) count from a 64-bit hash, by its distribution function."""
    drawn = uniform(hashed)
    reached, terms = 0.0, []
    for count in range(_MOST):
        reached += math.exp(-1) / math.factorial(count)
        terms.append(F.when(drawn >= reached, 1).otherwise(0))
    return sum(terms[1:], terms[0])


def check_options(metrics: Sequence[str], replicates: int, level: float) -> None:
    """Raise ConfigError for too few replicates, a level outside (0, 1), or a metric that is not in `METRICS`."""
    if replicates < 20 or not 0 < level < 1:
        raise ConfigError(
            "BOOTSTRAP_INVALID",
            f"{replicates} replicates at level {level}.",
            "At least 20 replicates, a level between 0 and 1.",
            "Edit the settings of the bootstrap.",
        )
    for name in metrics:
        if name not in METRICS:
            raise ConfigError(
                "METRIC_UNKNOWN",
                f"No interval for '{name}'.",
                f"One of {', '.join(METRICS)}.",
                did_you_mean(name, METRICS),
            )
