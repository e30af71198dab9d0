"""Metrics of a probability against a 0/1 label, exact with ties, computed without collecting rows.

Predictions are read twice, so cache them when a model computes them. Scores are summed per distinct value inside buckets
of the log-odds, and bucket totals give each bucket its offset; so no single task has to see all scores in order.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as F

from shared.evaluation.scored import BINS, BUCKETS, EPSILON, rank_sums, refuse, scored, tallies


@dataclass(frozen=True)
class BinaryMetrics:
    """Metrics of one set of predictions.

    Args:
        auc: area under the ROC curve: chance that a positive outranks a negative, ties half (Mann & Whitney 1947).
        pr_auc: average precision: sum over thresholds of precision times the gain in recall, without interpolation.
        log_loss: mean negative log-likelihood in nats, probabilities clipped to the machine epsilon.
        brier: mean squared difference of probability and label (Brier 1950).
        ece: expected calibration error over ten bins: mean |observed - predicted|, weighted by rows
            (Naeini, Cooper & Hauskrecht 2015).
        lift_at_10pct: positive rate among the ceil(n/10) highest scores over the overall rate; of a tie that straddles
            the cut, the expected share is counted.
        positive_rate: share of label 1.
        rows: number of rows.
        positives: number of rows with label 1.
    """

    auc: float
    pr_auc: float
    log_loss: float
    brier: float
    ece: float
    lift_at_10pct: float
    positive_rate: float
    rows: int
    positives: int

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


def evaluate(
    predictions: DataFrame,
    *,
    label: str,
    probability: str,
    ece_bins: Literal["width", "mass"] = "width",
) -> BinaryMetrics:
    """Return the metrics of ``predictions``; two Spark jobs, at most some thousand bucket totals are collected.

    Args:
        predictions: scored rows.
        label: column that holds 0 or 1.
        probability: column with the probability of label 1.
        ece_bins: ``width`` cuts [0, 1] into ten equal parts, a bound belongs to the part above it; ``mass`` cuts the
            rows, from the highest score down, into ten parts of equal size, a tie stays with its first row.

    Raises:
        DataError: no rows; a label that is null, not 0/1, or the same everywhere.
        ModelError: a probability that is null, NaN or outside [0, 1].
    """
    rows = scored(predictions, label, probability)
    totals = _bucket_totals(rows, label, probability)
    n, positives = (sum(row[name] for row in totals) for name in ("n", "positives"))
    top = math.ceil(n / 10)
    part = F.least(F.floor(F.col("n_above") * BINS / F.lit(n)), F.lit(BINS - 1))
    gaps = _gaps(part, F.col("positives") - F.col("n") * F.col("p")) if ece_bins == "mass" else []
    sums = _ladder(rows, totals).agg(*rank_sums(F.lit(float(top))), *gaps).collect()[0]
    gap = sum(abs(sums[f"gap_{k}"]) for k in range(BINS)) if gaps else _gap_of_equal_width(totals)
    return BinaryMetrics(
        auc=sums["won"] / (positives * (n - positives)),
        pr_auc=sums["precision"] / positives,
        log_loss=sum(row["log_loss"] for row in totals) / n,
        brier=sum(row["squared_error"] for row in totals) / n,
        ece=gap / n,
        lift_at_10pct=sums["top_positives"] / top / (positives / n),
        positive_rate=positives / n,
        rows=n,
        positives=int(positives),
    )


def constant(rate: float, metrics: BinaryMetrics) -> BinaryMetrics:
    """Return the metrics that always predicting ``rate`` has on the rows of ``metrics``: the baseline.

    Args:
        rate: positive rate of the training rows.
        metrics: any metrics of the same rows.
    """
    clipped = min(max(rate, EPSILON), 1 - EPSILON)
    share = metrics.positive_rate
    return BinaryMetrics(
        auc=0.5,
        pr_auc=share,
        log_loss=-share * math.log(clipped) - (1 - share) * math.log1p(-clipped),
        brier=share * (1 - rate) ** 2 + (1 - share) * rate**2,
        ece=abs(share - rate),
        lift_at_10pct=1.0,
        positive_rate=share,
        rows=metrics.rows,
        positives=metrics.positives,
    )


def points(predictions: DataFrame, *, label: str, probability: str, count: int = 200) -> list[Point]:
    """Return at most ``count`` points of the curve, evenly spread over the rows; the last selects every row.

    ROC, precision-recall, gains and profit curves are all drawn from them. Raises as `evaluate`.
    """
    rows = scored(predictions, label, probability)
    totals = _bucket_totals(rows, label, probability)
    n = sum(row["n"] for row in totals)
    reached = F.col("n_above") + F.col("n")
    hits = F.col("positives_above") + F.col("positives")
    slot = F.ceil(reached * count / F.lit(n))
    last = F.max_by(F.struct("p", reached.alias("n"), hits.alias("hits")), reached)
    found = _ladder(rows, totals).groupBy(slot.alias("slot")).agg(last.alias("last")).collect()
    chosen = sorted((row["last"] for row in found), key=lambda point: point["n"])
    return [Point(point["p"], int(point["hits"]), int(point["n"] - point["hits"])) for point in chosen]


def by_slice(
    predictions: DataFrame, slice_column: str, *, label: str, probability: str, limit: int = 20
) -> list[dict[str, float | int | str | None]]:
    """Return per value of ``slice_column`` its rows, observed and mean predicted rate and AUC, largest slices first.

    AUC is null for a slice with one class. Null is a slice of its own, written ``(none)``. One job; raises as
    `evaluate`, except that one class is accepted.
    """
    part = F.coalesce(F.col(slice_column).cast("string"), F.lit("(none)"))
    rows = scored(predictions, label, probability, slice=part)
    scores = (
        rows.groupBy("slice", "bucket", "p").agg(*tallies()).select("*", _above("positives", "p", "slice", "bucket"))
    )
    negatives, higher = F.col("n") - F.col("positives"), F.col("positives_above")
    names = ("n", "problem_rows", "positives", "expected")
    won_inside = F.sum(negatives * (higher + F.col("positives") / 2))
    buckets = (
        scores.groupBy("slice", "bucket")
        .agg(*(F.sum(name).alias(name) for name in names), won_inside.alias("won"))
        .select("*", _above("positives", "bucket", "slice"))
    )
    slices = buckets.groupBy("slice").agg(
        *(F.sum(name).alias(name) for name in names), F.sum(F.col("won") + negatives * higher).alias("won")
    )
    found = slices.orderBy(F.col("problem_rows").desc(), F.col("n").desc(), "slice").limit(limit).collect()
    refuse(rows, found, label, probability, is_one_class_fine=True)
    return [_slice(row) for row in found]


def _slice(row: Row) -> dict[str, float | int | str | None]:
    pairs = row["positives"] * (row["n"] - row["positives"])
    return {
        "slice": row["slice"],
        "rows": row["n"],
        "observed": row["positives"] / row["n"],
        "predicted": row["expected"] / row["n"],
        "auc": row["won"] / pairs if pairs else None,
    }


def _bucket_totals(rows: DataFrame, label: str, probability: str) -> Sequence[Row]:
    totals = rows.groupBy("bucket", "bin").agg(*tallies()).collect()
    refuse(rows, totals, label, probability)
    return totals


def _ladder(rows: DataFrame, totals: Sequence[Row]) -> DataFrame:
    """Return per distinct score ``p``, ``n`` and ``positives``, and how much of both lies above it."""
    scores = rows.groupBy("bucket", "p").agg(F.count("*").alias("n"), F.sum("y").alias("positives"))
    return scores.select(
        "p",
        "n",
        "positives",
        *(
            (_above(name, "p", "bucket") + F.get(_offsets(totals, name), F.col("bucket"))).alias(f"{name}_above")
            for name in ("n", "positives")
        ),
    )


def _above(name: str, order: str, *keys: str) -> Column:
    """Return the sum of ``name`` over the rows of the same ``keys`` that come before by descending ``order``."""
    higher = Window.partitionBy(*keys).orderBy(F.col(order).desc()).rowsBetween(Window.unboundedPreceding, -1)
    return F.coalesce(F.sum(name).over(higher), F.lit(0.0)).alias(f"{name}_above")


def _offsets(totals: Sequence[Row], name: str) -> Column:
    """Return as an array what all higher buckets hold of ``name``, by bucket."""
    held = [0.0] * BUCKETS
    for row in totals:
        held[row["bucket"]] += row[name]
    offsets, above = [0.0] * BUCKETS, 0.0
    for bucket in reversed(range(BUCKETS)):
        offsets[bucket] = above
        above += held[bucket]
    # One literal, folded once: a join with a small table takes three times as long, as does an array of literals.
    return F.from_json(F.lit(json.dumps(offsets)), "array<double>")


def _gaps(part: Column, gap: Column) -> list[Column]:
    return [F.coalesce(F.sum(F.when(part == k, gap)), F.lit(0.0)).alias(f"gap_{k}") for k in range(BINS)]


def _gap_of_equal_width(totals: Sequence[Row]) -> float:
    gaps = [0.0] * BINS
    for row in totals:
        gaps[row["bin"]] += row["positives"] - row["expected"]
    return sum(map(abs, gaps))
