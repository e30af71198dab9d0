"""Bootstrap intervals by unit: customers are drawn, not rows, since rows of one customer resemble each other.

Every replicate gives each unit a Poisson(1) weight that is a hash of unit, replicate and seed (Hanley & MacGibbon 2006),
so nothing is collected and a repeat gives the same interval. Scores are grouped to four decimals for the ranks.
"""

import math
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from shared.core.errors import ConfigError

METRICS: Final = ("auc", "pr_auc", "log_loss", "brier")
_SCALE = 10_000
_EPSILON = 2.0**-52
_MOST = 8  # a Poisson(1) weight beyond has a chance of one in a million


def intervals(
    predictions: DataFrame,
    *,
    unit: str,
    label: str,
    probability: str,
    replicates: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Return percentile intervals of `METRICS`; replicates with one class are left out.

    The work grows with rows times replicates; for many millions of rows ask for fewer replicates.

    Args:
        predictions: rows with ``unit``, ``label`` (0/1) and ``probability``.
        unit: column that is drawn.
        label, probability: names of the columns.
        replicates: number of replicates, at least 20.
        level: share of replicates inside the interval.
        seed: another seed draws others.

    Raises:
        ConfigError: too few replicates or a level outside (0, 1).
    """
    if replicates < 20 or not 0 < level < 1:
        raise ConfigError("BOOTSTRAP_INVALID", f"{replicates} replicates at level {level}.", "20 and (0, 1).")
    p, y = F.col(probability), F.col(label)
    clipped = F.greatest(F.least(p, F.lit(1 - _EPSILON)), F.lit(_EPSILON))
    rows = predictions.select(
        F.xxhash64(unit).alias("unit"),
        F.round(p * _SCALE).cast("int").alias("score"),
        y.cast("double").alias("y"),
        (-y * F.log(clipped) - (1 - y) * F.log1p(-clipped)).alias("log_loss"),
        ((p - y) ** 2).alias("brier"),
    )
    drawn = rows.withColumn("replicate", F.explode(F.sequence(F.lit(0), F.lit(replicates - 1))))
    weighted = drawn.withColumn("w", _poisson(F.xxhash64(F.lit(seed), "replicate", "unit"))).where("w > 0")
    by_score = weighted.groupBy("replicate", "score").agg(
        F.sum("w").alias("n"),
        F.sum(F.col("w") * F.col("y")).alias("positives"),
        F.sum(F.col("w") * F.col("log_loss")).alias("log_loss"),
        F.sum(F.col("w") * F.col("brier")).alias("brier"),
    )
    metrics = _per_replicate(by_score)
    tails = [(1 - level) / 2, (1 + level) / 2]
    found = metrics.agg(*(F.percentile(name, F.array(*map(F.lit, tails))).alias(name) for name in METRICS))
    row = found.collect()[0]
    return {name: (float(row[name][0]), float(row[name][1])) for name in METRICS if row[name]}


def _per_replicate(by_score: DataFrame) -> DataFrame:
    """Return the metrics of each replicate that has both classes."""
    higher = Window.partitionBy("replicate").orderBy(F.col("score").desc())
    above = higher.rowsBetween(Window.unboundedPreceding, -1)
    ranked = by_score.withColumns(
        {name: F.coalesce(F.sum(source).over(above), F.lit(0.0)) for name, source in _ABOVE.items()}
    )
    positives, negatives = F.col("positives"), F.col("n") - F.col("positives")
    precision = (F.col("positives_above") + positives) / (F.col("n_above") + F.col("n"))
    sums = ranked.groupBy("replicate").agg(
        F.sum(positives).alias("P"),
        F.sum(negatives).alias("N"),
        F.sum(negatives * (F.col("positives_above") + positives / 2)).alias("won"),
        F.sum(positives * precision).alias("precision"),
        F.sum("log_loss").alias("log_loss"),
        F.sum("brier").alias("brier"),
    )
    both = sums.where("P > 0 AND N > 0")
    total = F.col("P") + F.col("N")
    return both.select(
        (F.col("won") / (F.col("P") * F.col("N"))).alias("auc"),
        (F.col("precision") / F.col("P")).alias("pr_auc"),
        (F.col("log_loss") / total).alias("log_loss"),
        (F.col("brier") / total).alias("brier"),
    )


_ABOVE: Final = {"n_above": "n", "positives_above": "positives"}


def _poisson(hashed: Column) -> Column:
    """Return a Poisson(1) count from a 64-bit hash, by its distribution function."""
    uniform = F.shiftrightunsigned(hashed, 11).cast("double") * F.lit(2.0**-53)
    reached, terms = 0.0, []
    for count in range(_MOST):
        reached += math.exp(-1) / math.factorial(count)
        terms.append(F.when(uniform >= reached, 1).otherwise(0))
    return sum(terms[1:], terms[0])
