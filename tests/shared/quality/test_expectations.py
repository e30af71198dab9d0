"""Each rule's true and false, null and NaN, on small columns."""

import inspect
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.errors import ConfigError
from shared.quality import expectations
from shared.quality.expectations import (
    Expectation,
    fresh,
    in_range,
    in_set,
    matches,
    not_null,
    referential,
    satisfies,
    unique,
    volume,
)
from shared.quality.suite import check_table, with_broken

NAN, INF = float("nan"), float("inf")
NOON = datetime(2024, 5, 10, 12, tzinfo=UTC)


def _passing(rows: DataFrame, rules: list[Expectation]) -> list[list[object]]:
    """Per rule, the values of column ``x`` of the rows that pass."""
    found = with_broken(rows, rules).orderBy("n").collect()
    return [[row["x"] for row in found if not row["_broken"] >> place & 1] for place in range(len(rules))]


def _column(spark: SparkSession, values: list[object], kind: str) -> DataFrame:
    return spark.createDataFrame(list(enumerate(values)), f"n int, x {kind}")


def test_null_passes_every_rule_but_not_null(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(0, None)], "n int, x string")
    known = spark.createDataFrame([("a",), (None,)], "x string")
    rules = [in_set("x", ["a"]), in_range("x", "a", "b"), matches("x", "a"), unique("x"), referential("x", known, "x")]
    assert _passing(rows, [*rules, not_null("x")]) == [[None]] * 5 + [[]]


def test_a_predicate_of_ones_own_that_answers_null_fails(spark: SparkSession) -> None:
    rows = _column(spark, [1, None, 3], "int")
    assert _passing(rows, [satisfies("small", "x", F.col("x") < 3, "must be small")]) == [[1]]


def test_nan_is_outside_every_range_and_infinity_passes_an_open_end(spark: SparkSession) -> None:
    rows = _column(spark, [-INF, -1.0, 0.0, 5.0, 5.1, INF, NAN], "double")
    rules = [in_range("x", 0), in_range("x", high=5), in_range("x", 0, 5), in_range("x", Decimal(0))]
    at_least, at_most, between, decimal = _passing(rows, rules)
    assert at_least == decimal == [0.0, 5.0, 5.1, INF]
    assert at_most == [-INF, -1.0, 0.0, 5.0]
    assert between == [0.0, 5.0]


def test_a_range_of_dates_and_of_exact_decimals_includes_its_ends(spark: SparkSession) -> None:
    dates = _column(spark, [date(2024, 1, 1), date(2024, 1, 31), date(2024, 2, 1)], "date")
    assert _passing(dates, [in_range("x", date(2024, 1, 1), date(2024, 1, 31)), in_range("x", date(2024, 2, 1))]) == [
        [date(2024, 1, 1), date(2024, 1, 31)],
        [date(2024, 2, 1)],
    ]
    ten = Decimal("10.000000000000000001")
    assert _passing(_column(spark, [Decimal(10), ten], "decimal(38,18)"), [in_range("x", high=10)]) == [[Decimal(10)]]


def test_in_set_compares_exactly(spark: SparkSession) -> None:
    assert _passing(_column(spark, ["a", "A", "a ", ""], "string"), [in_set("x", {"a"})]) == [["a"]]


def test_matches_takes_the_whole_text_and_no_line_end_after_it(spark: SparkSession) -> None:
    rows = _column(spark, ["A1", "A1\n", "xA1", "B", "A1\nB"], "string")
    assert _passing(rows, [matches("x", "A[0-9]|B")]) == [["A1", "B"]]


def test_every_row_of_a_repeated_key_fails(spark: SparkSession) -> None:
    rows = spark.createDataFrame(
        [(0, 1, "a"), (1, 1, "a"), (2, 1, "b"), (3, None, "a"), (4, None, "a")], "n int, k int, x string"
    )
    assert _passing(rows, [unique("k", "x")]) == [["b", "a", "a"]]


def test_the_first_row_of_a_repeated_key_can_be_kept(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(0, 1, "late"), (1, 1, "early"), (2, 2, "only")], "n int, k int, x string")
    assert _passing(rows, [unique("k", keep_first_by="x")]) == [["early", "only"]]


def test_a_repeated_known_value_does_not_repeat_the_row(spark: SparkSession) -> None:
    rows = _column(spark, ["a", "z", None], "string")
    known = spark.createDataFrame([("a",), ("a",), ("b",)], "x string")
    other = spark.createDataFrame([("z",)], "id string")
    assert _passing(rows, [referential("x", known, "x"), referential("x", other, "id")]) == [["a", None], ["z", None]]


def test_a_table_may_refer_to_itself(spark: SparkSession) -> None:
    people = spark.createDataFrame([(1, None), (2, 1), (3, 9)], "n int, x int")
    assert _passing(people, [referential("x", people, "n")]) == [[None, 1]]


@pytest.mark.parametrize(
    ("newest", "holds"),
    [(timedelta(days=2), True), (timedelta(days=2, seconds=1), False), (timedelta(hours=-1), False), (None, False)],
    ids=["at the limit", "too old", "only a future value", "no value"],
)
def test_fresh_looks_at_the_newest_value_up_to_now(spark: SparkSession, newest: timedelta | None, holds: bool) -> None:
    stamps = [(None,), (NOON - timedelta(days=30) if newest and newest > timedelta(0) else None,)]
    stamps += [(NOON - newest,)] if newest is not None else []
    rows = spark.createDataFrame(stamps, "ts timestamp")
    (result,) = check_table(rows, [fresh("ts", 2, NOON)])
    assert result.failed == (0 if holds else 1)


def test_fresh_says_the_time_in_utc_and_what_it_found(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(NOON - timedelta(days=3),)], "ts timestamp")
    (result,) = check_table(rows, [fresh("ts", 2, NOON.astimezone(timezone(timedelta(hours=5))))])
    assert result.message == "newest must be 2024-05-08 12:00 UTC or later"
    assert result.examples == ("2024-05-07 12:00:00",)


def test_volume_includes_its_ends(spark: SparkSession) -> None:
    rows = spark.range(5)
    found = check_table(rows, [volume(5), volume(6), volume(0, 5), volume(0, 4)])
    assert [result.failed for result in found] == [0, 1, 0, 1]
    assert found[1].message == "must have at least 6 rows"
    assert found[1].examples == ("5",)


def test_rules_without_sense_are_refused(spark: SparkSession) -> None:
    refused = {
        "RANGE_INVALID": [lambda: in_range("x"), lambda: volume(5, 4)],
        "SET_INVALID": [lambda: in_set("x", []), lambda: in_set("x", ["a", None])],
        "KEY_INVALID": [lambda: unique()],
        "TIME_INVALID": [lambda: fresh("x", 1, NOON.replace(tzinfo=None))],
    }
    for code, makers in refused.items():
        for make in makers:
            with pytest.raises(ConfigError, match=code):
                make()


def test_the_order_of_public_parameters_stays() -> None:
    order = {
        "not_null": ["column", "severity"],
        "in_set": ["column", "values", "severity"],
        "in_range": ["column", "low", "high", "severity"],
        "matches": ["column", "pattern", "severity"],
        "unique": ["columns", "keep_first_by", "severity"],
        "referential": ["column", "other", "other_column", "severity"],
        "satisfies": ["rule", "column", "passes", "message", "severity"],
        "fresh": ["column", "within_days", "now", "severity"],
        "volume": ["low", "high", "severity"],
    }
    assert {name: list(inspect.signature(getattr(expectations, name)).parameters) for name in order} == order
