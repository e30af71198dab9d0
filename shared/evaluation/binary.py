"""Metrics of a probability against a 0/1 label, exact with ties, computed without collecting rows.

Scores are summed per distinct value inside fixed buckets, and bucket totals give each bucket its offset; so no single
task has to see all scores in order.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as F
from pyspark.sql.window import WindowSpec

from shared.core.errors import DataError, ModelError

_BUCKETS: Final = 1000
_EPSILON: Final = 2.0**-52  # scikit-learn clips to the machine epsilon before taking the logarithm
ECE_BINS: Final = 10


@dataclass(frozen=True)
class BinaryMetrics:
    """Metrics of one set of predictions.

    Args:
        auc: area under the ROC curve: chance that a positive outranks a negative, ties half (Mann & Whitney 1947).
        pr_auc: average precision: sum over thresholds of precision times the gain in recall, without interpolation.
        log_loss: mean negative log-likelihood in nats, probabilities clipped to the machine epsilon.
        brier: mean squared difference of probability and label (Brier 1950).
        ece: expected calibration error over ten bins of equal width: mean |observed - predicted|, weighted by rows
            (Naeini, Cooper & Hauskrecht 2015).
        lift_at_10pct: positive rate among the ceil(n/10) highest scores over the overall rate; of a tie that straddles
            the cut, the expected share is counted.
        rows: number of rows.
        positives: number of rows with label 1.
    """

    auc: float
    pr_auc: float
    log_loss: float
    brier: float
    ece: float
    lift_at_10pct: float
    rows: int
    positives: int

    @property
    def positive_rate(self) -> float:
        """Share of positives."""
        return self.positives / self.rows

    def as_dict(self) -> dict[str, float]:
        """Return the metrics by name."""
        return asdict(self)


@dataclass(frozen=True)
class Point:
    """What is selected at a threshold: rows with a probability of at least ``threshold``.

    Args:
        threshold: the probability.
        true_positives: selected rows with label 1.
        false_positives: selected rows with label 0.
    """

    threshold: float
    true_positives: int
    false_positives: int


def evaluate(predictions: DataFrame, *, label: str, probability: str) -> BinaryMetrics:
    """Return the metrics of ``predictions``; two Spark jobs, at most a thousand bucket totals are collected.

    Raises:
        DataError: no rows; a label that is null, not 0/1, or the same everywhere.
        ModelError: a probability that is null, NaN or outside [0, 1].
    """
    buckets = _bucket_totals(predictions, label, probability)
    rows, positives = sum(b["n"] for b in buckets), sum(b["positives"] for b in buckets)
    negatives = rows - positives
    ladder = _ladder(predictions, buckets, label, probability)
    top = math.ceil(rows / 10)
    taken = F.least(F.greatest(F.lit(top) - F.col("n_above"), F.lit(0)), F.col("n")) / F.col("n")
    clipped = F.greatest(F.least(F.col("p"), F.lit(1 - _EPSILON)), F.lit(_EPSILON))
    precision = (F.col("positives_above") + F.col("positives")) / (F.col("n_above") + F.col("n"))
    negatives_here = F.col("n") - F.col("positives")
    negatives_below = negatives - (F.col("n_above") - F.col("positives_above")) - negatives_here
    sums = ladder.agg(
        F.sum(F.col("positives") * (negatives_below + negatives_here / 2)).alias("won"),
        F.sum(F.col("positives") * precision).alias("precision"),
        F.sum(-F.col("positives") * F.log(clipped) - negatives_here * F.log1p(-clipped)).alias("log_loss"),
        F.sum(F.col("positives") * (1 - F.col("p")) ** 2 + negatives_here * F.col("p") ** 2).alias("brier"),
        F.sum(taken * F.col("positives")).alias("top_positives"),
    ).collect()[0]
    return BinaryMetrics(
        auc=sums["won"] / (positives * negatives),
        pr_auc=sums["precision"] / positives,
        log_loss=sums["log_loss"] / rows,
        brier=sums["brier"] / rows,
        ece=_ece(buckets, rows),
        lift_at_10pct=sums["top_positives"] / top / (positives / rows),
        rows=rows,
        positives=positives,
    )


def constant(rate: float, metrics: BinaryMetrics) -> BinaryMetrics:
    """Return the metrics that always predicting ``rate`` has on the rows of ``metrics``: the baseline.

    Args:
        rate: positive rate of the training rows.
        metrics: any metrics of the same rows.
    """
    clipped = min(max(rate, _EPSILON), 1 - _EPSILON)
    share = metrics.positive_rate
    return BinaryMetrics(
        auc=0.5,
        pr_auc=share,
        log_loss=-share * math.log(clipped) - (1 - share) * math.log1p(-clipped),
        brier=share * (1 - rate) ** 2 + (1 - share) * rate**2,
        ece=abs(share - rate),
        lift_at_10pct=1.0,
        rows=metrics.rows,
        positives=metrics.positives,
    )


def points(predictions: DataFrame, *, label: str, probability: str, count: int = 200) -> list[Point]:
    """Return about ``count`` points of the curve from the strictest threshold to one that selects every row.

    ROC, precision-recall, gains and profit curves are all drawn from them. Raises as `evaluate`.
    """
    buckets = _bucket_totals(predictions, label, probability)
    rows = sum(b["n"] for b in buckets)
    ladder = _ladder(predictions, buckets, label, probability)
    reached = F.col("n_above") + F.col("n")
    slot = F.ceil(reached * F.lit(count) / F.lit(rows))
    last = F.max_by(
        F.struct("p", reached.alias("n"), (F.col("positives_above") + F.col("positives")).alias("tp")), reached
    )
    found = ladder.groupBy(slot.alias("slot")).agg(last.alias("last")).orderBy("slot").collect()
    return [Point(row["last"]["p"], int(row["last"]["tp"]), int(row["last"]["n"] - row["last"]["tp"])) for row in found]


def by_slice(
    predictions: DataFrame, slice_column: str, *, label: str, probability: str, limit: int = 20
) -> list[dict[str, float | int | str | None]]:
    """Return per value of ``slice_column`` its rows, observed and mean predicted rate and AUC, largest slices first.

    AUC is null for a slice with one class. Null is a slice of its own, written ``(none)``.
    """
    part = F.coalesce(F.col(slice_column).cast("string"), F.lit("(none)"))
    sums = predictions.groupBy(part.alias("slice"), F.col(probability).alias("p")).agg(
        F.count("*").alias("n"), F.sum(F.col(label)).cast("double").alias("positives")
    )
    below = Window.partitionBy("slice").orderBy("p").rowsBetween(Window.unboundedPreceding, -1)
    negatives = F.col("n") - F.col("positives")
    ranked = sums.withColumn("below", F.coalesce(F.sum(negatives).over(below), F.lit(0.0)))
    all_positives, all_negatives = F.sum("positives"), F.sum(negatives)
    won = F.sum(F.col("positives") * (F.col("below") + negatives / 2))
    table = ranked.groupBy("slice").agg(
        F.sum("n").alias("rows"),
        (all_positives / F.sum("n")).alias("observed"),
        (F.sum(F.col("p") * F.col("n")) / F.sum("n")).alias("predicted"),
        (won / F.nullif(all_positives * all_negatives, F.lit(0.0))).alias("auc"),
    )
    return [row.asDict() for row in table.orderBy(F.col("rows").desc(), "slice").limit(limit).collect()]


def _bucket_totals(predictions: DataFrame, label: str, probability: str) -> Sequence[Row]:
    p, y = F.col(probability), F.col(label)
    is_invalid = p.isNull() | F.isnan(p) | (p < 0) | (p > 1)
    bucket = F.when(~is_invalid, F.least(F.floor(p * _BUCKETS), F.lit(_BUCKETS - 1)))
    bin_ = F.when(~is_invalid, F.least(F.floor(p * ECE_BINS), F.lit(ECE_BINS - 1)))
    totals = predictions.groupBy(bucket.alias("bucket"), bin_.alias("bin")).agg(
        F.count("*").alias("n"),
        F.sum(y).cast("long").alias("positives"),
        F.sum(p).alias("sum_p"),
        F.count_if(y.isNull()).alias("label_nulls"),
        F.count_if(~y.isin(0, 1)).alias("label_others"),
        F.count_if(is_invalid).alias("invalid"),
    )
    found = sorted(totals.collect(), key=lambda row: (row["bucket"] is not None, row["bucket"]))
    _check(found, label, probability)
    return found


def _check(buckets: Sequence[Row], label: str, probability: str) -> None:
    rows = sum(row["n"] for row in buckets)
    if not rows:
        raise DataError("EVALUATION_EMPTY", "There are no rows to evaluate.", "At least one of each class.")
    nulls, others = sum(row["label_nulls"] for row in buckets), sum(row["label_others"] for row in buckets)
    if nulls:
        raise DataError("LABEL_NULL", f"{nulls} of {rows} rows have no '{label}'.", "0 or 1.", "Leave them out.")
    if others:
        raise DataError("LABEL_NOT_BINARY", f"{others} of {rows} rows have a '{label}' other than 0 and 1.", "0 or 1.")
    invalid = sum(row["invalid"] for row in buckets)
    if invalid:
        raise ModelError("PROBABILITY_INVALID", f"{invalid} of {rows} rows have no valid '{probability}'.", "0 to 1.")
    positives = sum(row["positives"] for row in buckets)
    if positives in (0, rows):
        raise DataError("LABEL_ONE_CLASS", f"All {rows} rows have '{label}' = {int(positives > 0)}.", "Both classes.")


def _ladder(predictions: DataFrame, buckets: Sequence[Row], label: str, probability: str) -> DataFrame:
    """Return per distinct score ``p, n, positives`` and how many rows and positives lie above it."""
    above = _above(buckets)
    offsets = predictions.sparkSession.createDataFrame(
        [(bucket, n, positives) for bucket, (n, positives) in above.items()],
        "bucket int, bucket_n long, bucket_positives long",
    )
    p = F.col(probability)
    scores = predictions.groupBy(p.alias("p")).agg(
        F.count("*").alias("n"), F.sum(F.col(label)).cast("long").alias("positives")
    )
    bucket = F.least(F.floor(F.col("p") * _BUCKETS), F.lit(_BUCKETS - 1)).cast("int")
    placed = scores.withColumn("bucket", bucket).join(F.broadcast(offsets), "bucket")
    higher = Window.partitionBy("bucket").orderBy(F.col("p").desc()).rowsBetween(Window.unboundedPreceding, -1)
    return placed.select("p", "n", "positives", _over("n", higher), _over("positives", higher))


def _over(name: str, window: WindowSpec) -> Column:
    before = F.coalesce(F.sum(name).over(window), F.lit(0))
    return (before + F.col(f"bucket_{name}")).alias(f"{name}_above")


def _above(buckets: Sequence[Row]) -> Mapping[int, tuple[int, int]]:
    totals: dict[int, tuple[int, int]] = {}
    for row in buckets:
        n, positives = totals.get(row["bucket"], (0, 0))
        totals[row["bucket"]] = (n + row["n"], positives + row["positives"])
    above: dict[int, tuple[int, int]] = {}
    n_above = positives_above = 0
    for bucket in sorted(totals, reverse=True):
        above[bucket] = (n_above, positives_above)
        n_above, positives_above = n_above + totals[bucket][0], positives_above + totals[bucket][1]
    return above


def _ece(buckets: Sequence[Row], rows: int) -> float:
    gaps: dict[int, float] = {}
    for row in buckets:
        gaps[row["bin"]] = gaps.get(row["bin"], 0.0) + row["positives"] - row["sum_p"]
    return sum(abs(gap) for gap in gaps.values()) / rows
