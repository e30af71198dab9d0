import math

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.errors import ConfigError, DataError
from shared.evaluation.binary import evaluate
from shared.evaluation.bootstrap import METRICS, _poisson, intervals

NAMES = {"label": "label", "probability": "p"}


def drawn(count: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(7)
    p = 1 / (1 + np.exp(-draw.normal(shift - 1, 1.3, count)))
    return (draw.random(count) < p).astype(int), p


def table(spark: SparkSession, y: np.ndarray, p: np.ndarray) -> DataFrame:
    rows = [(i, int(label), float(score)) for i, (label, score) in enumerate(zip(y, p, strict=True))]
    return spark.createDataFrame(rows, "customer_id int, label int, p double").coalesce(2)


def delong_error(y: np.ndarray, p: np.ndarray) -> float:
    """Standard error of the AUC by DeLong, DeLong & Clarke-Pearson (1988)."""
    positives, negatives = p[y == 1], p[y == 0]
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    return math.sqrt(wins.mean(1).var(ddof=1) / len(positives) + wins.mean(0).var(ddof=1) / len(negatives))


def test_widths_agree_with_the_theory_of_each_metric(spark: SparkSession) -> None:
    y, p = drawn(2000)
    errors = {
        "auc": delong_error(y, p),
        "log_loss": np.std(-y * np.log(p) - (1 - y) * np.log1p(-p)) / math.sqrt(2000),
        "brier": np.std((p - y) ** 2) / math.sqrt(2000),
    }

    found = intervals(table(spark, y, p), unit="customer_id", **NAMES)

    values = evaluate(table(spark, y, p), **NAMES).as_dict()
    for name, error in errors.items():
        low, high = found[name]
        assert (high - low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.15), name
        assert (low + high) / 2 == pytest.approx(values[name], abs=0.4 * error), name
    assert set(found) == set(METRICS)
    assert all(found[name][0] < values[name] < found[name][1] for name in METRICS)


def test_copies_of_a_customers_rows_add_no_certainty(spark: SparkSession) -> None:
    y, p = drawn(300)
    rows = table(spark, y, p)
    options = {"unit": "customer_id", **NAMES, "metrics": ("auc", "pr_auc", "log_loss"), "replicates": 50}

    once = intervals(rows, **options)
    copied = intervals(rows.withColumn("copy", F.explode(F.sequence(F.lit(1), F.lit(5)))), **options)

    for name, bounds in once.items():
        assert copied[name] == pytest.approx(bounds, abs=1e-9), name


def test_rare_events_keep_their_ranks(spark: SparkSession) -> None:
    # Rounded to four decimals all these scores would tie, and the interval would hold nothing but 0.5.
    y, p = drawn(1000)
    rows = table(spark, y, p * 1e-5)

    low, high = intervals(rows, unit="customer_id", **NAMES, metrics=["auc"], replicates=50)["auc"]

    assert low < evaluate(rows, **NAMES).auc < high
    assert high - low < 0.1


def test_the_interval_depends_on_the_seed_and_not_on_the_partitions(spark: SparkSession) -> None:
    y, p = drawn(200)
    rows = table(spark, y, p)
    options = {"unit": "customer_id", **NAMES, "metrics": ["auc"], "replicates": 20}

    first = intervals(rows, **options, seed=1)["auc"]

    assert intervals(rows.repartition(3), **options, seed=1)["auc"] == pytest.approx(first, abs=1e-12)
    assert intervals(rows, **options, seed=2)["auc"] != pytest.approx(first, abs=1e-6)


def test_weights_are_poisson_with_mean_one(spark: SparkSession) -> None:
    counts = spark.range(100_000).groupBy(_poisson(F.xxhash64("id")).alias("times")).count().collect()

    shares = {row["times"]: row["count"] / 100_000 for row in counts}
    for times in range(5):
        assert shares[times] == pytest.approx(math.exp(-1) / math.factorial(times), abs=0.005)
    assert max(shares) <= 8


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"replicates": 19}, "BOOTSTRAP_INVALID"),
        ({"level": 1.0}, "BOOTSTRAP_INVALID"),
        ({"metrics": ["auc", "brir"]}, r"METRIC_UNKNOWN.*Did you mean 'brier'"),
    ],
)
def test_options_out_of_bounds_are_refused(spark: SparkSession, options: dict, code: str) -> None:
    with pytest.raises(ConfigError, match=code):
        intervals(spark.range(1), unit="id", **NAMES, **options)


def test_rows_that_cannot_be_evaluated_are_refused(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(1, 1, 0.5), (2, 1, 0.4)], "customer_id int, label int, p double")

    with pytest.raises(DataError, match="LABEL_ONE_CLASS"):
        intervals(rows, unit="customer_id", **NAMES)
