import math
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from chispa import assert_df_equality
from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from shared.core.errors import DataError, ModelError
from shared.evaluation.binary import evaluate
from shared.evaluation.calibration import (
    CalibrationBin,
    IsotonicScaling,
    PlattScaling,
    curve,
    ece_by_chance,
    log_odds,
)

NAMES = {"label": "label", "probability": "p"}
SCALINGS = [PlattScaling("p", "label"), IsotonicScaling("p", "label")]


def held_out(spark: SparkSession, scores: list[float], count: int = 600) -> tuple[DataFrame, list[int], list[float]]:
    draw = random.Random(11)
    p = [draw.choice(scores) for _ in range(count)]
    y = [int(draw.random() < value**2) for value in p]
    return spark.createDataFrame(list(zip(y, p, strict=True)), "label int, p double").coalesce(2), y, p


def mapped(rows: DataFrame) -> dict[float, float]:
    return {row["before"]: row["p"] for row in rows.select("before", "p").distinct().collect()}


def test_isotonic_scaling_equals_scikit_learn_on_few_scores(spark: SparkSession) -> None:
    scores = [i / 20 for i in range(1, 20)]
    rows, y, p = held_out(spark, scores)

    scaled = mapped(IsotonicScaling("p", "label").fit(rows).transform(rows.withColumn("before", F.col("p"))))

    rates = IsotonicRegression(y_min=1e-6, y_max=1 - 1e-6).fit(p, y).predict(scores)
    expected = [(1 - 1e-6) * rate + 1e-6 * score for rate, score in zip(rates, scores, strict=True)]
    assert [scaled[score] for score in scores] == pytest.approx(expected, abs=1e-9)


def test_isotonic_scaling_rises_between_its_knots_and_never_says_never(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(0, 0.2)] * 3 + [(1, 0.2)] + [(1, 0.6)] * 4, "label int, p double")
    at = spark.createDataFrame([(v, v) for v in (0.0, 0.2, 0.3, 0.4, 0.6, 1.0)], "before double, p double")

    scaled = mapped(IsotonicScaling("p", "label").fit(rows).transform(at))

    rates = {0.0: 0.25, 0.2: 0.25, 0.3: 0.4375, 0.4: 0.625, 0.6: 1 - 1e-6, 1.0: 1 - 1e-6}
    assert scaled == pytest.approx({p: (1 - 1e-6) * rate + 1e-6 * p for p, rate in rates.items()}, abs=1e-12)
    assert sorted(scaled.values()) == [scaled[p] for p in sorted(scaled)]
    assert len(set(scaled.values())) == len(scaled)


def test_isotonic_scaling_of_many_scores_calibrates_and_keeps_their_ranks(spark: SparkSession) -> None:
    rows, y, _ = held_out(spark, [i / 4000 for i in range(1, 4000)], 3000)

    scaling = IsotonicScaling("p", "label").fit(rows)

    ranks = scaling.transform(rows.select("label", "p", F.col("p").alias("before")))
    assert evaluate(ranks, **NAMES).auc == evaluate(ranks, label="label", probability="before").auc
    gaps = [abs(b.predicted - b.observed) for b in curve(scaling.transform(rows), **NAMES, bins=5)]
    assert max(gaps) < 0.02
    assert max(abs(b.predicted - b.observed) for b in curve(rows, **NAMES, bins=5)) > 0.15
    assert sum(y) > 0


def test_the_ece_of_labels_drawn_from_the_probabilities_is_the_one_by_chance(spark: SparkSession) -> None:
    rng = np.random.default_rng(3)
    probabilities = rng.beta(1, 3, 1_500)
    drawn = []
    for _ in range(200):
        gaps = (rng.random(1_500) < probabilities) - probabilities
        drawn.append(np.abs(np.bincount((probabilities * 10).astype(int), gaps)).sum() / 1_500)
    rows = spark.createDataFrame(pd.DataFrame({"p": probabilities, "label": rng.random(1_500) < probabilities}))

    assert ece_by_chance(rows, label="label", probability="p") == pytest.approx(np.mean(drawn), rel=0.03)


def test_platt_scaling_equals_a_logistic_regression_on_the_log_odds(spark: SparkSession) -> None:
    scores = [0.0, 0.1, 0.3, 0.5, 0.9, 1.0]
    rows, y, p = held_out(spark, scores)

    scaled = mapped(PlattScaling("p", "label").fit(rows).transform(rows.withColumn("before", F.col("p"))))

    clipped = np.clip([*p, *scores], 1e-6, 1 - 1e-6)
    logits = np.log(clipped / (1 - clipped)).reshape(-1, 1)
    oracle = LogisticRegression(C=1e12, tol=1e-12, max_iter=1000).fit(logits[: len(p)], y)
    expected = oracle.predict_proba(logits[len(p) :])[:, 1]
    assert [scaled[score] for score in scores] == pytest.approx(list(expected), abs=1e-5)


def test_saved_scalings_need_no_code_of_ours(spark: SparkSession, tmp_path: Path) -> None:
    rows, _, _ = held_out(spark, [0.1, 0.4, 0.8])
    model = PipelineModel([scaling.fit(rows) for scaling in SCALINGS])

    model.write().overwrite().save(str(tmp_path / "model"))

    loaded = PipelineModel.load(str(tmp_path / "model"))
    stages = [
        part for stage in loaded.stages for part in (stage.stages if isinstance(stage, PipelineModel) else [stage])
    ]
    assert {type(stage).__module__ for stage in stages} == {"pyspark.ml.feature", "pyspark.ml.regression"}
    assert_df_equality(loaded.transform(rows), model.transform(rows), ignore_row_order=True)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_scaling_refuses_rows_it_cannot_learn_from(
    spark: SparkSession, scaling: PlattScaling | IsotonicScaling
) -> None:
    rows = spark.createDataFrame([(1, 0.7), (1, 0.2)], "label int, p double")

    with pytest.raises(DataError, match="LABEL_ONE_CLASS"):
        scaling.fit(rows)
    with pytest.raises(ModelError, match="PROBABILITY_INVALID"):
        scaling.fit(rows.selectExpr("cast(p > 0.5 AS int) AS label", "cast('NaN' AS double) AS p"))


def test_the_curve_keeps_ties_together_and_refuses_nulls(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(1, 0.5), (0, 0.5), (0, 0.5), (1, 0.75)], "label int, p double")

    assert curve(rows, **NAMES, bins=4) == [CalibrationBin(0.5, 1 / 3, 3), CalibrationBin(0.75, 1.0, 1)]
    assert curve(rows, **NAMES, bins=1) == [CalibrationBin(0.5625, 0.5, 4)]
    with pytest.raises(DataError, match="LABEL_NULL"):
        curve(rows.selectExpr("nullif(label, 1) AS label", "p"), **NAMES)
    with pytest.raises(DataError, match="EVALUATION_EMPTY"):
        curve(rows.limit(0), **NAMES)


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("kind", ["float", "decimal(9,6)"])
def test_a_probability_of_another_type_is_mapped_to_a_double(
    spark: SparkSession, scaling: PlattScaling | IsotonicScaling, kind: str
) -> None:
    rows, _, _ = held_out(spark, [0.25, 0.5, 0.75])
    mapping = scaling.fit(rows)

    scaled = mapping.transform(rows.withColumn("p", F.col("p").cast(kind)))

    assert dict(scaled.dtypes)["p"] == "double"
    expected = sorted(row["p"] for row in mapping.transform(rows).collect())
    assert sorted(row["p"] for row in scaled.collect()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_what_is_no_probability_is_none_after_a_scaling_and_is_refused(
    spark: SparkSession, scaling: PlattScaling | IsotonicScaling
) -> None:
    rows, _, _ = held_out(spark, [0.1, 0.4, 0.8])
    odd = spark.createDataFrame([(0, None), (1, math.nan), (0, 1.5), (1, -0.5), (1, 0.4)], rows.schema)

    scaled = scaling.fit(rows).transform(odd)

    none, nan, above, below, fine = (row["p"] for row in scaled.collect())
    assert (none, above, below) == (None, 1.5, -0.5)
    assert math.isnan(nan)
    assert 0 < fine < 1
    for unusable in ("p IS NULL", "isnan(p)", "p > 1", "p < 0"):
        with pytest.raises(ModelError, match="PROBABILITY_INVALID"):
            evaluate(scaled.where(f"{unusable} OR p BETWEEN 0 AND 1").union(rows.select(scaled.columns)), **NAMES)


def test_the_log_odds_of_no_probability_are_none(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(None,), (math.nan,), (0.5,), (0.0,), (1.0,)], "p double")

    none, nan, *odds = (row[0] for row in rows.select(log_odds(F.col("p"))).collect())

    assert none is None
    assert math.isnan(nan)
    assert odds == pytest.approx([0.0, math.log(1e-6), -math.log(1e-6)], abs=1e-5)
