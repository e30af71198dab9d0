import pytest
from pyspark.sql import SparkSession

from shared.core.errors import ConfigError, DataError, ModelError
from shared.evaluation.binary import Point, points
from shared.evaluation.thresholds import Confusion, Costs, confusion, profit_curve

NAMES = {"label": "label", "probability": "p"}
COSTS = Costs(10, 200, 0.25)


def test_the_threshold_is_where_the_profit_of_calibrated_probabilities_peaks(spark: SparkSession) -> None:
    # Of a hundred customers at each score, exactly that share churns.
    rows = spark.range(1, 10).selectExpr("id / 10 AS p", "explode(sequence(1, 100)) AS i", "id AS tenths")
    rows = rows.selectExpr("p", "cast(i <= 10 * tenths AS int) AS label")

    profit = {p.threshold: COSTS.profit(p.true_positives, p.false_positives) for p in points(rows, **NAMES)}

    assert COSTS.threshold == 0.2
    # At 0.2 a contact earns nothing on average, so selecting from 0.2 on earns as much as from 0.3 on.
    assert [at for at, amount in profit.items() if amount == max(profit.values())] == [0.3, 0.2]


def test_nobody_is_worth_a_contact_that_costs_more_than_it_can_save() -> None:
    costs = Costs(contact=100, value_saved=200, success_rate=0.25)

    assert costs.threshold == 2.0


@pytest.mark.parametrize(
    "amounts", [(0, 200, 0.25), (10, -1, 0.25), (10, 200, 0), (10, 200, 1.1), (10, float("nan"), 1)]
)
def test_impossible_costs_are_refused(amounts: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match="COSTS_INVALID"):
        Costs(*amounts)


def test_the_profit_curve_starts_with_nobody_and_ends_with_everyone() -> None:
    curve = profit_curve([Point(0.8, 8, 2), Point(0.1, 10, 30)], COSTS)

    assert curve == [(0.0, 0.0), (0.25, 8 * 50 - 10 * 10), (1.0, 10 * 50 - 40 * 10)]


def test_a_confusion_of_one_class_has_no_recall(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(0, 0.7), (0, 0.2), (0, 0.1)], "label int, p double")

    found = confusion(rows, 0.5, **NAMES)

    assert found == Confusion(0.5, 0, 1, 0, 2)
    assert (found.precision, found.recall) == (0.0, None)
    assert confusion(rows, 0.9, **NAMES).precision is None


def test_rows_that_cannot_be_counted_are_refused_not_lost(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(1, 0.7), (0, 0.2), (None, 0.1)], "label int, p double")

    with pytest.raises(DataError, match="LABEL_NULL"):
        confusion(rows, 0.5, **NAMES)
    with pytest.raises(ModelError, match="PROBABILITY_INVALID"):
        confusion(rows.selectExpr("1 AS label", "nullif(p, 0.7) AS p"), 0.5, **NAMES)
    with pytest.raises(DataError, match="EVALUATION_EMPTY"):
        confusion(rows.limit(0), 0.5, **NAMES)
