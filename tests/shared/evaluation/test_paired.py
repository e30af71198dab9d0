"""A gain must be the difference of the metrics, and its bounds must cancel what both models share."""

import math

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.errors import ConfigError, ModelError
from shared.evaluation.binary import evaluate
from shared.evaluation.paired import gain, slice_losses

COUNT = 1500


@pytest.fixture(scope="module")
def figures() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(11)
    truth = 1 / (1 + np.exp(-draw.normal(-1, 1.3, COUNT)))
    noisy = np.clip(truth + draw.normal(0, 0.05, COUNT), 0.01, 0.99)
    return {"y": (draw.random(COUNT) < truth).astype(int), "challenger": truth, "champion": noisy}


@pytest.fixture(scope="module")
def pairs(spark: SparkSession, figures: dict[str, np.ndarray]) -> DataFrame:
    columns = zip(range(COUNT), *(figures[name].tolist() for name in ("y", "challenger", "champion")), strict=True)
    schema = "unit int, label int, challenger double, champion double"
    return spark.createDataFrame(list(columns), schema).coalesce(1).cache()


def losses(figures: dict[str, np.ndarray], model: str) -> np.ndarray:
    y, p = figures["y"], figures[model]
    return -y * np.log(p) - (1 - y) * np.log1p(-p)


def test_the_gain_in_log_loss_is_the_mean_difference_with_the_bounds_of_the_normal_theory(
    pairs: DataFrame, figures: dict[str, np.ndarray]
) -> None:
    difference = losses(figures, "champion") - losses(figures, "challenger")
    error = difference.std() / math.sqrt(COUNT)

    found = gain(pairs, unit="unit", label="label", metric="log_loss", replicates=200, confidence=0.95)

    assert (found.rows, found.positives) == (COUNT, pairs.where("label = 1").count())
    assert found.gain == pytest.approx(difference.mean(), rel=1e-9)
    assert found.low == pytest.approx(difference.mean() - 1.645 * error, abs=0.35 * error)
    assert found.high == pytest.approx(difference.mean() + 1.645 * error, abs=0.35 * error)
    alone = losses(figures, "champion").std() / math.sqrt(COUNT)
    assert found.high - found.low < alone  # each model alone is far less certain than the difference


def test_the_gain_in_auc_is_the_difference_of_the_two(pairs: DataFrame) -> None:
    aucs = [evaluate(pairs, label="label", probability=model).auc for model in ("challenger", "champion")]

    found = gain(pairs, unit="unit", label="label", metric="auc", replicates=20)

    assert found.gain == pytest.approx(aucs[0] - aucs[1], abs=1e-3)  # ranks in buckets
    assert found.low < found.gain < found.high


def test_the_same_model_gains_nothing(pairs: DataFrame) -> None:
    same = pairs.withColumn("challenger", F.col("champion"))

    found = gain(same, unit="unit", label="label", metric="log_loss", replicates=20)

    assert (found.gain, found.low, found.high) == (0, 0, 0)


def test_units_are_drawn_and_not_rows(pairs: DataFrame) -> None:
    copies = pairs.withColumn("copy", F.explode(F.sequence(F.lit(1), F.lit(3))))
    options = {"unit": "unit", "label": "label", "metric": "log_loss", "replicates": 20}

    once, copied = gain(pairs, **options), gain(copies, **options)

    assert (copied.low, copied.high) == pytest.approx((once.low, once.high), rel=1e-9)


def test_slices_are_compared_by_their_mean_log_loss(pairs: DataFrame, figures: dict[str, np.ndarray]) -> None:
    sliced = pairs.withColumn("plan", F.when(F.col("unit") < 1000, "basic"))

    found = slice_losses(sliced, ["plan"], label="label")

    difference = losses(figures, "challenger") - losses(figures, "champion")
    assert [(each["slice"], each["rows"]) for each in found["plan"]] == [("basic", 1000), ("(none)", 500)]
    expected = [difference[:1000].mean(), difference[1000:].mean()]
    assert [each["loss"] for each in found["plan"]] == pytest.approx(expected, rel=1e-9)


def test_what_is_no_probability_is_refused_and_too_few_replicates_too(pairs: DataFrame) -> None:
    broken = pairs.withColumn("challenger", F.when(F.col("unit") == 3, F.lit(math.nan)).otherwise(F.col("challenger")))

    with pytest.raises(ModelError, match=r"PROBABILITY_INVALID.*'challenger' is NaN in 1 of"):
        gain(broken, unit="unit", label="label", metric="log_loss")
    with pytest.raises(ConfigError, match="BOOTSTRAP_INVALID"):
        gain(pairs, unit="unit", label="label", metric="log_loss", replicates=5)
