"""Reasons of a linear model are its coefficients times the distance from the typical value, exactly."""

import math

import pytest
from pyspark.ml.feature import SQLTransformer
from pyspark.sql import DataFrame, SparkSession

from churn.algorithms.candidates import Inputs
from churn.algorithms.reasons import directions, mean_absolute, typical_values, with_contributions

INPUTS = Inputs(("x", "n"), ("plan",), ("note",))
COLUMNS = "id string, day date, x double, n int, plan string, note array<string>"
# The log-odds are 0.5 + 2 x - 0.25 n, 1 more on plan basic, and 0.75 more for each word; an unknown x counts as 3.
LINEAR = "0.5 + 2 * coalesce(x, 3) - 0.25 * n + IF(plan = 'basic', 1, 0) + 0.75 * size(note)"
TYPICAL: dict[str, object] = {"x": 1.0, "n": 4, "plan": "basic", "note": []}
ROWS = [
    ("typical", None, 1.0, 4, "basic", []),
    ("more", None, 1.5, 8, "basic", []),
    ("less", None, 0.5, 0, None, []),
    ("unknown", None, None, 4, "premium", ["go", "away"]),
]


@pytest.fixture
def contributed(spark: SparkSession) -> DataFrame:
    model = SQLTransformer(statement=f"SELECT *, 1 / (1 + exp(-({LINEAR}))) AS probability FROM __THIS__")
    rows = spark.createDataFrame(ROWS, COLUMNS)
    return with_contributions(rows, model, INPUTS, TYPICAL, key=("id", "day"))


def test_a_contribution_is_the_coefficient_times_the_distance_with_its_sign(contributed: DataFrame) -> None:
    reasons = {row["id"]: [tuple(reason) for reason in row["contributions"]] for row in contributed.collect()}

    # Largest first, equal ones by name; a typical value is no reason.
    assert reasons == {
        "typical": [],
        "more": [("n", "8", -1.0), ("x", "1.5", 1.0)],
        "less": [("n", "0", 1.0), ("plan", None, -1.0), ("x", "0.5", -1.0)],
        "unknown": [("x", None, 4.0), ("note", "go away", 1.5), ("plan", "premium", -1.0)],
    }


def test_every_row_keeps_its_columns_and_gets_its_own_probability(contributed: DataFrame) -> None:
    odds = {row["id"]: math.log(row["probability"] / (1 - row["probability"])) for row in contributed.collect()}

    assert contributed.columns == ["id", "day", "x", "n", "plan", "note", "probability", "contributions"]
    assert odds == pytest.approx({"typical": 2.5, "more": 2.5, "less": 1.5, "unknown": 7.0})


def test_the_importance_of_a_feature_is_its_mean_size_over_all_rows(contributed: DataFrame) -> None:
    assert mean_absolute(contributed, INPUTS) == [("x", 1.5), ("n", 0.5), ("plan", 0.5), ("note", 0.375)]


def test_the_typical_values_are_the_median_and_the_most_frequent_level(spark: SparkSession) -> None:
    values = [(1.0, 4, "b"), (2.0, 4, "a"), (9.0, 7, "b"), (None, 5, "a"), (3.0, None, None)]
    rows = spark.createDataFrame([(*row, ["hi"]) for row in values], "x double, n int, plan string, note array<string>")

    assert typical_values(rows, INPUTS) == {"x": 2.0, "n": 4.0, "plan": "a", "note": []}


def test_a_feature_has_a_direction_where_its_reasons_agree(spark: SparkSession) -> None:
    given = [
        ("use_days", "2", 0.9),  # less use than usual raises the risk
        ("use_days", "9", -0.4),
        ("price", "20", 0.3),  # both ways
        ("price", "5", 0.3),
        ("tenure", None, 0.5),  # not known is neither more nor less
        ("plan", "basic", 0.2),
        ("plan", "basic", 0.2),
        ("plan", "premium", -0.3),
        ("note", "hello cancel cancel", 0.9),
        ("note", "cancel", 0.8),
        ("note", "hello thank", -0.6),
        *[("note", "hello regard", 0.15)] * 12,
    ]
    reasons = spark.createDataFrame(given, "feature string, value string, contribution double")

    found = directions(reasons, {"use_days": 5.0, "price": 10.0, "tenure": 100.0}, ["note"])

    assert found == {
        "use_days": "more lowers the risk",
        "plan": "basic raises the risk",
        "note": "the word cancel raises the risk",
    }
