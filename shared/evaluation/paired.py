"""Two models on the same rows: how much better one is, and how sure that is.

The bootstrap draws each unit for both models at once, so what makes a unit easy or hard cancels out of the difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pyspark.ml import Transformer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from shared.core.errors import DataError
from shared.evaluation.bootstrap import check_options, per_replicate, weighted
from shared.evaluation.scored import check, scored

_LESS_IS_BETTER: Final = ("log_loss", "brier")


@dataclass(frozen=True)
class Gain:
    """By how much the challenger is better; negative when it is worse.

    Args:
        gain: on the rows themselves.
        low, high: bounds that a share ``confidence`` of the replicates lies above, and below.
        rows: number of rows.
        positives: of them with label 1.
    """

    gain: float
    low: float
    high: float
    rows: int
    positives: int


def scored_by_both(rows: DataFrame, challenger: Transformer, champion: Transformer, *, probability: str) -> DataFrame:
    """Return ``rows`` with the probabilities of both models, as ``challenger`` and ``champion``."""
    first = challenger.transform(rows).withColumnRenamed(probability, "challenger")
    return champion.transform(first).withColumnRenamed(probability, "champion")


def gain(
    pairs: DataFrame,
    *,
    unit: str,
    label: str,
    metric: str,
    replicates: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> Gain:
    """Return the gain in ``metric`` of the column ``challenger`` over the column ``champion``.

    Percentile bounds of the paired Poisson bootstrap (Efron & Tibshirani 1993, chapter 16; weights as in
    `shared.evaluation.bootstrap`). Log loss and Brier score are exact; the ranks are those of its buckets, also in
    ``gain``. Equal probabilities give a gain of exactly 0 with bounds 0.

    Args:
        pairs: rows with ``unit``, ``label`` (0/1) and both probabilities.
        unit: column that is drawn; rows where it is null are one unit.
        label: name of the label.
        metric: one of `shared.evaluation.bootstrap.METRICS`.
        replicates: at least 20.
        confidence: of each bound, one-sided.
        seed: another seed draws others.

    Raises:
        ConfigError: as `shared.evaluation.bootstrap.intervals`.
        DataError, ModelError: as `shared.evaluation.binary.evaluate`.
    """
    check_options([metric], replicates, confidence)
    models = []
    for model in ("challenger", "champion"):
        rows = scored(pairs, label, model, unit=F.xxhash64(unit))
        check(rows, label, model)
        # Replicate -1 is the rows themselves.
        drawn = weighted(rows, range(-1, replicates), seed)
        models.append(per_replicate(drawn).select("replicate", F.col(metric).alias(model)))
    sign = -1.0 if metric in _LESS_IS_BETTER else 1.0
    both = models[0].join(models[1], "replicate")
    gains = both.select("replicate", (sign * (F.col("challenger") - F.col("champion"))).alias("gain"))
    is_bootstrap, itself = F.col("replicate") >= 0, F.col("replicate") == -1
    tails = F.array(F.lit(1 - confidence), F.lit(confidence))
    found = gains.agg(
        F.max(F.when(itself, F.col("gain"))).alias("gain"),
        F.percentile(F.when(is_bootstrap, F.col("gain")), tails).alias("bounds"),
    ).collect()[0]
    if found["gain"] is None or not found["bounds"]:
        raise DataError("LABEL_ONE_CLASS", f"No replicate has both values of '{label}'.", "", "Evaluate on more rows.")
    low, high = found["bounds"]
    counted = pairs.agg(F.count("*").alias("rows"), F.sum(label).cast("int").alias("positives")).collect()[0]
    return Gain(found["gain"] + 0.0, low + 0.0, high + 0.0, counted["rows"], counted["positives"])  # no -0


def slice_losses(pairs: DataFrame, slices: Sequence[str], *, label: str) -> dict[str, list[dict[str, Any]]]:
    """Return per slice column, per value, ``slice``, ``rows`` and ``loss``: challenger's mean log loss minus champion's.

    Largest slices first; null is a slice of its own, written ``(none)``. One job. A probability that is none makes a
    loss of NaN or null, which gates refuse.
    """
    if not slices:
        return {}
    parts = F.array(
        *(
            F.struct(F.lit(name).alias("name"), F.coalesce(F.col(name).cast("string"), F.lit("(none)")).alias("slice"))
            for name in slices
        )
    )
    challenger = scored(pairs, label, "challenger", part=parts, champion=F.col("champion"))
    both = scored(challenger, "y", "champion", part=F.col("part"), challenger_loss=F.col("log_loss"))
    each = both.select(F.explode("part").alias("part"), (F.col("challenger_loss") - F.col("log_loss")).alias("loss"))
    found = each.groupBy("part.name", "part.slice").agg(F.count("*").alias("rows"), F.avg("loss").alias("loss"))
    by_name: dict[str, list[dict[str, Any]]] = {name: [] for name in slices}
    for row in found.orderBy(F.col("rows").desc(), "slice").collect():
        by_name[row["name"]].append({"slice": row["slice"], "rows": row["rows"], "loss": row["loss"]})
    return by_name
