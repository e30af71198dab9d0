"""Levels of categorical columns as numbers: places, 0/1 columns, or the smoothed rate of the label.

An encoding by the label must not see a row's own label: use `out_of_fold` for the training rows, `TargetEncoding` for all
others. The encoding of training rows by the fitted encoder is a leak.
"""

from collections.abc import Sequence

from pyspark.ml import Estimator, Pipeline, PipelineModel
from pyspark.ml.feature import OneHotEncoder, StringIndexer, TargetEncoder
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from shared.core.columns import identifier
from shared.core.errors import ConfigError
from shared.features.sql_steps import replacing


def indexer(columns: Sequence[str], outputs: Sequence[str]) -> StringIndexer:
    """Return the estimator of places: 0 for the most frequent level, ties by name; null and unseen share the last."""
    return StringIndexer(inputCols=list(columns), outputCols=list(outputs), handleInvalid="keep")


def one_hot(indices: Sequence[str], outputs: Sequence[str]) -> OneHotEncoder:
    """Return the estimator of 0/1 vectors of the places that `indexer` gives: a column each, the last for null and unseen.

    The indexer counts that place among its own, so no place is invalid to the encoder.
    """
    return OneHotEncoder(inputCols=list(indices), outputCols=list(outputs), dropLast=False, handleInvalid="error")


class TargetEncoding(Estimator[PipelineModel]):
    """Adds ``<name>__target``: the rate of positives of the level, drawn to the overall rate where the level is rare.

    ``(sum of labels + smoothing × overall rate) / (rows + smoothing)``, Micci-Barreca (2001), by Spark's TargetEncoder.
    Null and unseen share a level, which has the overall rate where the training rows have no null.

    Args:
        inputCols: text columns.
        labelCol: 0 or 1.
        smoothing: rows of the overall rate that are mixed in.
    """

    def __init__(self, inputCols: Sequence[str], labelCol: str, smoothing: float = 20.0) -> None:  # noqa: N803
        super().__init__()
        if smoothing < 0:
            raise ConfigError("SMOOTHING_INVALID", f"Smoothing {smoothing}.", "At least 0.")
        self.input_columns = [identifier(name) for name in inputCols]
        self.label, self.smoothing = labelCol, smoothing

    def _fit(self, dataset: DataFrame) -> PipelineModel:
        places = [f"_place_{name}" for name in self.input_columns]
        encoder = TargetEncoder(
            inputCols=places,
            outputCols=[encoded(name) for name in self.input_columns],
            labelCol=self.label,
            handleInvalid="keep",
            smoothing=self.smoothing,
        )
        return Pipeline(stages=[indexer(self.input_columns, places), encoder, replacing(places)]).fit(dataset)


def out_of_fold(
    rows: DataFrame, columns: Sequence[str], *, label: str, fold: str, smoothing: float = 20.0
) -> DataFrame:
    """Add ``<name>__target`` to training rows, each computed from the rows of the *other* folds.

    The formula is that of `TargetEncoding`. Null is a level. Rows without a label are encoded and teach nothing. A level
    that the other folds do not have gets their overall rate; with a single fold there are no others, and the result is null.

    Args:
        rows: training rows.
        columns: the columns to encode.
        label: 0 or 1.
        fold: column of the folds, e.g. from `shared.features.split.folds`: all rows of a customer in one.
        smoothing: rows of the overall rate that are mixed in.
    """
    of_folds = rows.groupBy(F.col(fold).alias("_fold")).agg(F.sum(label).alias("_sum"), F.count(label).alias("_rows"))
    every = of_folds.fillna(0, ["_sum"]).crossJoin(
        of_folds.agg(F.sum("_sum").alias("_all"), F.sum("_rows").alias("_n"))
    )
    other_rows = F.nullif(F.col("_n") - F.col("_rows"), F.lit(0))
    rates = every.select("_fold", ((F.col("_all") - F.col("_sum")) / other_rows).alias("_rate"))
    encodings = rows
    for name in columns:
        table = _of_other_folds(rows, identifier(name), label, fold, rates, smoothing)
        is_same = F.col(name).eqNullSafe(F.col("_level")) & F.col(fold).eqNullSafe(F.col("_fold"))
        encodings = encodings.join(table, is_same, "left").drop("_level", "_fold")
    return encodings


def _of_other_folds(rows: DataFrame, name: str, label: str, fold: str, rates: DataFrame, smoothing: float) -> DataFrame:
    """Return ``_level, _fold`` and the encoding of the level in the fold, a row each; ``rates`` are those of no level."""
    level, in_level = F.col(name).alias("_level"), Window.partitionBy("_level")
    counts = rows.groupBy(level, F.col(fold).alias("_fold")).agg(
        F.coalesce(F.sum(label), F.lit(0)).alias("_sum"), F.count(label).alias("_rows")
    )
    others = {own: F.sum(own).over(in_level) - F.col(own) for own in ("_sum", "_rows")}
    known = counts.withColumns(others).join(rates.withColumnRenamed("_fold", "_of"), F.expr("_fold <=> _of"))
    rate = F.col("_rate")
    smoothed = (F.col("_sum") + smoothing * rate) / F.nullif(F.col("_rows") + smoothing, F.lit(0.0))
    return known.select("_level", "_fold", F.coalesce(smoothed, rate).alias(encoded(name)))


def encoded(name: str) -> str:
    """Return the name of a column's encoding by the label.

    >>> encoded("plan")
    'plan__target'
    """
    return f"{name}__target"
