"""Calibration: how predicted and observed rates compare, and maps that bring them together.

A fitted map is made of Spark's own stages, so it is saved with a pipeline as it is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pyspark.ml import PipelineModel
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import SQLTransformer, VectorAssembler
from pyspark.ml.regression import IsotonicRegression
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from shared.core.columns import identifier
from shared.evaluation.scored import check, refuse, scored, tallies
from shared.features.sql_steps import adding, replacing

_CLIP: Final = 1e-6
_MIXED: Final = 1e-6
_RATE: Final = "_isotonic"
_UNMAPPED: Final = "_unmapped"


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

    Raises:
        DataError, ModelError: as `shared.evaluation.binary.evaluate`, except that one class is accepted.
    """
    rows = scored(predictions, label, probability)
    shares = [place / bins for place in range(1, max(bins, 2))]
    bounds = rows.agg(F.percentile_approx("p", shares, 10_000)).collect()[0][0] or []
    group = sum((F.when(F.col("p") > bound, 1).otherwise(0) for bound in sorted(set(bounds))), F.lit(0))
    found = rows.groupBy(group.alias("group")).agg(*tallies()).orderBy("group").collect()
    refuse(rows, found, label, probability, is_one_class_fine=True)
    return [CalibrationBin(row["expected"] / row["n"], row["positives"] / row["n"], row["n"]) for row in found]


def ece_by_chance(predictions: DataFrame, *, label: str, probability: str) -> float:
    """Return the ECE that these probabilities would have on average if every one were exactly right.

    So many rows never show the rate they were drawn from: in a bin, the distance of labels drawn with the probabilities
    from their expectation has mean ``sqrt(2 V / pi)`` with V the sum of ``p (1 - p)`` (normal approximation; the idea of
    consistency bars, Bröcker & Smith 2007). An ECE near this figure shows nothing wrong. Ten bins of equal width.

    Raises:
        DataError, ModelError: as `shared.evaluation.binary.evaluate`.
    """
    rows = scored(predictions, label, probability)
    variance = F.sum(F.col("p") * (1 - F.col("p"))).alias("variance")
    found = rows.groupBy("bin").agg(*tallies(), variance).collect()
    refuse(rows, found, label, probability)
    gaps: list[float] = [math.sqrt(2 * row["variance"] / math.pi) for row in found]
    return math.fsum(gaps) / int(sum(row["n"] for row in found))


class PlattScaling:
    """Maps a probability p to ``1 / (1 + exp(-(a logit(p) + b)))``, with a and b fitted on held-out rows (Platt 1999).

    Ranks stay as they are when a is positive. p is clipped to [1e-6, 1 - 1e-6] first; null, NaN and numbers outside
    [0, 1] stay what they are, so that whoever evaluates the scores refuses them.

    Args:
        probability: the column, read and written.
        label: the 0/1 column of the rows it is fitted on.
    """

    def __init__(self, probability: str, label: str) -> None:
        self.probability = identifier(probability)
        self.label = identifier(label)

    def fit(self, held_out: DataFrame) -> SQLTransformer:
        """Return the map; ``held_out`` must not be rows the model was trained on.

        Raises:
            DataError, ModelError: as `shared.evaluation.binary.evaluate`.
        """
        rows = scored(held_out, self.label, self.probability)
        check(rows, self.label, self.probability)
        logits = VectorAssembler(inputCols=["logit"], outputCol="logits").transform(
            rows.select("y", log_odds(F.col("p")).alias("logit"))
        )
        fitted = LogisticRegression(featuresCol="logits", labelCol="y", maxIter=100, tol=1e-10).fit(logits)
        slope, intercept = float(fitted.coefficients[0]), float(fitted.intercept)
        clipped = _clipped(f"`{self.probability}`")
        return _map(
            self.probability, f"1 / (1 + exp(-({slope!r}D * ln({clipped} / (1 - {clipped})) + {intercept!r}D)))"
        )


class IsotonicScaling:
    """Maps a probability to the observed rate, never falling: pool adjacent violators (Zadrozny & Elkan 2002).

    It bends as the rows ask, so it needs about a thousand of them (Niculescu-Mizil & Caruana 2005), and it makes
    plateaus. A millionth of the unmapped probability is mixed in, so that rows on a plateau keep their ranks; to what
    ranks by steps of the log-odds, as the bootstrap does, they are ties. Rates are clipped to [1e-6, 1 - 1e-6] first:
    a rate of 0 is no proof that nothing happens. What is no probability stays what it is, as in `PlattScaling`.

    Args:
        probability: the column, read and written.
        label: the 0/1 column of the rows it is fitted on.
    """

    def __init__(self, probability: str, label: str) -> None:
        self.probability = identifier(probability)
        self.label = identifier(label)

    def fit(self, held_out: DataFrame) -> PipelineModel:
        """Return the map; ``held_out`` must not be rows the model was trained on.

        Raises:
            DataError, ModelError: as `shared.evaluation.binary.evaluate`.
        """
        rows = scored(held_out, self.label, self.probability)
        check(rows, self.label, self.probability)
        fitted = IsotonicRegression(featuresCol="p", labelCol="y").fit(rows.select("p", "y"))
        as_double = adding([f"CAST(`{self.probability}` AS DOUBLE) AS {_UNMAPPED}"])
        fitted.setFeaturesCol(_UNMAPPED).setPredictionCol(_RATE)
        mixed = f"(1 - {_MIXED!r}D) * {_clipped(_RATE)} + {_MIXED!r}D * {_UNMAPPED}"
        return PipelineModel([as_double, fitted, _map(self.probability, mixed, workings=[_UNMAPPED, _RATE])])


SCALINGS: Final[Mapping[str, type[PlattScaling] | type[IsotonicScaling]]] = {
    "platt": PlattScaling,
    "isotonic": IsotonicScaling,
}


def log_odds(probability: Column) -> Column:
    """Return ``ln(p / (1 - p))`` of p clipped to [1e-6, 1 - 1e-6]; null of null, NaN of NaN."""
    clipped = F.greatest(F.least(probability, F.lit(1 - _CLIP)), F.lit(_CLIP))
    # `greatest` and `least` skip nulls, and NaN is the greatest number.
    return F.when(probability.isNull() | F.isnan(probability), probability).otherwise(F.log(clipped / (1 - clipped)))


def _map(probability: str, sql: str, workings: Sequence[str] = ()) -> SQLTransformer:
    """Return the step that puts ``sql`` in place of the probability, where it is one, and drops ``workings``."""
    is_one = f"`{probability}` BETWEEN 0 AND 1"
    mapped = f"CASE WHEN {is_one} THEN {sql} ELSE CAST(`{probability}` AS DOUBLE) END"
    return replacing([probability, *workings], [f"{mapped} AS `{probability}`"])


def _clipped(sql: str) -> str:
    return f"greatest(least({sql}, {1 - _CLIP!r}D), {_CLIP!r}D)"
