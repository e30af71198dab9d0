"""Calibration: how predicted and observed rates compare, and maps that bring them together.

A fitted map is Spark's own SQLTransformer with its numbers in the statement, so it is saved with a pipeline as it is.
"""

from dataclasses import dataclass

from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import SQLTransformer, VectorAssembler
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from shared.core.columns import identifier

_CLIP = 1e-6


@dataclass(frozen=True)
class CalibrationBin:
    """One bin of the calibration curve: mean predicted probability, observed rate, and rows."""

    predicted: float
    observed: float
    rows: int


def curve(predictions: DataFrame, *, label: str, probability: str, bins: int = 10) -> list[CalibrationBin]:
    """Return the calibration curve over ``bins`` groups of about equal size, by ascending probability.

    Equal probabilities share a group, so there may be fewer groups. Bounds are exact quantiles up to 10,000 rows and
    within 0.01 % of the ranks beyond.
    """
    shares = [place / bins for place in range(1, bins)]
    bounds = predictions.agg(F.percentile_approx(probability, shares, 10_000)).collect()[0][0] or []
    group = sum((F.when(F.col(probability) > bound, 1).otherwise(0) for bound in sorted(set(bounds))), F.lit(0))
    found = predictions.groupBy(group.alias("group")).agg(
        F.avg(probability).alias("predicted"), F.avg(label).alias("observed"), F.count("*").alias("rows")
    )
    ordered = found.orderBy("group").collect()
    return [CalibrationBin(row["predicted"], row["observed"], row["rows"]) for row in ordered]


class PlattScaling:
    """Maps a probability p to ``1 / (1 + exp(-(a logit(p) + b)))``, with a and b fitted on held-out rows (Platt 1999).

    Ranks stay as they are when a is positive. p is clipped to [1e-6, 1 - 1e-6] first.

    Args:
        probability: the column, read and written.
        label: the 0/1 column of the rows it is fitted on.
    """

    def __init__(self, probability: str, label: str) -> None:
        self.probability = identifier(probability)
        self.label = identifier(label)

    def fit(self, held_out: DataFrame) -> SQLTransformer:
        """Return the map; ``held_out`` must not be rows the model was trained on."""
        logit = held_out.select(self.label, log_odds(F.col(self.probability)).alias("_logit"))
        assembled = VectorAssembler(inputCols=["_logit"], outputCol="_logits").transform(logit)
        fitted = LogisticRegression(featuresCol="_logits", labelCol=self.label, maxIter=100, tol=1e-10).fit(assembled)
        slope, intercept = float(fitted.coefficients[0]), float(fitted.intercept)
        column = f"`{self.probability}`"
        clipped = f"greatest(least({column}, {1 - _CLIP!r}D), {_CLIP!r}D)"
        mapped = f"1 / (1 + exp(-({slope!r}D * ln({clipped} / (1 - {clipped})) + {intercept!r}D)))"
        return SQLTransformer(statement=f"SELECT * EXCEPT ({column}), {mapped} AS {column} FROM __THIS__")


def log_odds(probability: Column) -> Column:
    """Return ``ln(p / (1 - p))`` of p clipped to [1e-6, 1 - 1e-6]."""
    clipped = F.greatest(F.least(probability, F.lit(1 - _CLIP)), F.lit(_CLIP))
    return F.log(clipped / (1 - clipped))


def prior_corrected(probability: Column, train_rate: float, true_rate: float) -> Column:
    """Return the probability a model trained at positive rate ``train_rate`` should give where ``true_rate`` holds.

    Odds are multiplied by ``true_rate/(1-true_rate) * (1-train_rate)/train_rate`` (Elkan 2001, theorem 2); use it after
    class weights or sampling.
    """
    factor = true_rate / (1 - true_rate) * (1 - train_rate) / train_rate
    return probability * factor / (probability * factor + 1 - probability)
