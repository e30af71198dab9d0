"""Routing of rows, counts and examples, and the gate."""

from pathlib import Path

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.errors import ConfigError, DataError
from shared.quality.expectations import FAILURE_TYPE, Expectation, in_range, in_set, not_null, satisfies, unique
from shared.quality.suite import (
    Counted,
    RuleResult,
    check_table,
    count_broken,
    count_failures,
    failing,
    gate,
    is_accepted,
    summarise,
    with_broken,
)


@pytest.fixture(scope="module")
def rules(spark: SparkSession) -> list[Expectation]:
    return [not_null("id"), in_set("plan", ["a", "b"]), in_range("age", 0, 120, "warning")]


@pytest.fixture(scope="module")
def customers(spark: SparkSession) -> DataFrame:
    rows = [(1, "a", 30), (None, "x", 40), (3, "b", 130), (4, "y", -1)]
    return spark.createDataFrame(rows, "id int, plan string, age int")


def test_each_failing_row_names_the_rules_it_breaks_in_order(
    spark: SparkSession, customers: DataFrame, rules: list[Expectation]
) -> None:
    no_id = ("not_null", "id", "null", "must have a value", "error")
    plan = "must be one of a, b"
    age = "must be from 0 to 120"
    expected = spark.createDataFrame(
        [
            (None, "x", 40, [no_id, ("in_set", "plan", "x", plan, "error")]),
            (3, "b", 130, [("in_range", "age", "130", age, "warning")]),
            (4, "y", -1, [("in_set", "plan", "y", plan, "error"), ("in_range", "age", "-1", age, "warning")]),
        ],
        f"id int, plan string, age int, _failures {FAILURE_TYPE}",
    )
    found = failing(with_broken(customers, rules), rules).drop("_broken")
    assert_df_equality(found, expected, ignore_row_order=True, ignore_nullable=True)


def test_a_warning_does_not_reject(customers: DataFrame, rules: list[Expectation]) -> None:
    accepted = with_broken(customers, rules).where(is_accepted(rules))
    assert sorted(row["id"] for row in accepted.collect()) == [1, 3]


def test_failures_from_parsing_come_first_and_count_as_kept_out(spark: SparkSession) -> None:
    parsing = ("type", "age", "old", "must be int", "error")
    rows = spark.createDataFrame(
        [(1, "a", [parsing]), (2, "x", [parsing]), (3, "a", None), (4, "x", None)],
        f"id int, plan string, _failures {FAILURE_TYPE}",
    )
    rules = [in_set("plan", ["a"])]
    checked = with_broken(rows, rules)
    found = {row["id"]: [f["rule"] for f in row["_failures"]] for row in failing(checked, rules).collect()}
    assert found == {1: ["type"], 2: ["type", "in_set"], 4: ["in_set"]}
    assert count_broken(checked, rules) == Counted(4, [2], 3)


def test_without_rules_every_row_passes(customers: DataFrame) -> None:
    checked = with_broken(customers, [])
    assert checked.where(is_accepted([])).count() == 4
    assert failing(checked, []).isEmpty()


def test_the_last_of_sixty_three_rules_has_its_own_bit_and_one_more_is_refused(customers: DataFrame) -> None:
    fine = satisfies("fine", "id", F.lit(True), "is fine")
    rules = [fine] * 62 + [not_null("id")]
    checked = with_broken(customers, rules)
    assert count_broken(checked, rules) == Counted(4, [0] * 62 + [1], 1)
    assert checked.where(is_accepted(rules)).count() == 3
    assert [row["_failures"][0]["rule"] for row in failing(checked, rules).collect()] == ["not_null"]
    with pytest.raises(ConfigError, match="RULES_TOO_MANY"):
        with_broken(customers, [*rules, fine])


def test_counts_and_examples_of_each_rule_and_of_all(customers: DataFrame, rules: list[Expectation]) -> None:
    checked = with_broken(customers, rules)
    failed = count_failures(failing(checked, rules))
    found = summarise(count_broken(checked, rules), rules, {key: examples for key, (_, examples) in failed.items()})
    assert [(r.rule, r.checked, r.failed, r.share, r.examples) for r in found] == [
        ("not_null", 4, 1, 0.25, ("null",)),
        ("in_set", 4, 2, 0.5, ("x", "y")),
        ("in_range", 4, 2, 0.5, ("-1", "130")),
        ("any_rule", 4, 2, 0.5, ()),
    ]


def test_the_source_is_read_once_for_all_rules(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spark.range(10).selectExpr("id", "id % 3 AS n").write.parquet(str(tmp_path / "rows"))
    rules = [not_null("id"), in_set("n", [0, 1]), unique("id")]
    with_broken(spark.read.parquet(str(tmp_path / "rows")), rules).explain()
    plan = capsys.readouterr().out
    assert (plan.count("FileScan parquet"), plan.count("Window [")) == (1, 1)


def test_values_that_identify_a_person_are_stars_alone_and_in_a_key(spark: SparkSession) -> None:
    people = spark.createDataFrame([("ann@x", 1), ("ann@x", 1)], "email string, day int")
    rules = [in_set("email", ["-"]), unique("email", "day"), in_set("day", [2])]
    found = count_failures(failing(with_broken(people, rules), rules), pii={"email"})
    assert {key: examples for key, (_, examples) in found.items()} == {
        ("in_set", "email"): ["***"],
        ("unique", "email+day"): ["***"],
        ("in_set", "day"): ["1"],
    }


def test_examples_are_the_three_most_frequent_values_and_short(spark: SparkSession) -> None:
    values = ["a"] * 5 + ["m", "m", "y", "y", "z" * 200, "b"]
    rows = spark.createDataFrame([(value,) for value in values], "x string").repartition(4)
    rules = [in_set("x", ["-"]), satisfies("odd", "", F.lit(False), "is odd")]
    found = count_failures(failing(with_broken(rows, rules), rules))
    assert found == {("in_set", "x"): (11, ["a", "m", "y"]), ("odd", ""): (11, [])}
    few = count_failures(failing(with_broken(rows.where("x > 'n'"), rules), rules))
    assert few["in_set", "x"] == (3, ["y", "z" * 80])


def test_three_examples_are_shown_wherever_three_values_fail(spark: SparkSession) -> None:
    # Of ascending values the least is also the first, so least, any and greatest would be two.
    rules = [in_set("id", [-1])]
    found = count_failures(failing(with_broken(spark.range(0, 1000, 1, 3), rules), rules))
    assert found == {("in_set", "id"): (1000, ["0", "1", "10"])}


def _result(failed: int, checked: int = 100, rule: str = "in_set", severity: str = "error") -> RuleResult:
    return RuleResult(rule, "plan", severity, "must be one of a, b", checked, failed, ("x", "y", "z"))


def test_the_gate_lets_exactly_its_share_through_and_stops_one_row_more() -> None:
    gate([_result(5)], "customers")
    with pytest.raises(DataError) as stopped:
        gate([_result(6), _result(0, rule="not_null"), _result(80, rule="unique")], "customers")
    assert stopped.value.exit_code == 3
    assert str(stopped.value) == (
        "[GATE_FAILED] customers breaks 2 of 3 rules: in_set(plan) must be one of a, b, broken by 6 of 100 rows "
        "(6.00%, at most 5.00%), e.g. 'x', 'y', 'z'; unique(plan) must be one of a, b, broken by 80 of 100 rows "
        "(80.00%, at most 5.00%), e.g. 'x', 'y', 'z'. "
        "Mend the source, correct the rule, or allow a larger share (max_failed_share)."
    )


def test_a_warning_never_stops() -> None:
    gate([_result(100, severity="warning")], "customers")


def test_many_rules_broken_by_a_few_rows_each_stop_the_gate_together(spark: SparkSession) -> None:
    rules = [satisfies("first", "id", F.col("id") >= 4, "is 4"), satisfies("last", "id", F.col("id") < 96, "is 95")]
    checked = with_broken(spark.range(100), rules)
    results = summarise(count_broken(checked, rules), rules, {("first", "id"): ["0"]})
    with pytest.raises(DataError) as stopped:
        gate(results, "customers", max_failed_share=0.05)
    assert str(stopped.value) == (
        "[GATE_FAILED] customers breaks no rule too often, but all rules together, broken by 8 of 100 rows "
        "(8.00%, at most 5.00%); first(id) is 4, broken by 4 of 100 rows (4.00%, at most 5.00%), e.g. '0'; "
        "last(id) is 95, broken by 4 of 100 rows (4.00%, at most 5.00%). "
        "Mend the source, correct the rule, or allow a larger share (max_failed_share)."
    )
    gate(results, "customers", max_failed_share=0.08)


def test_no_rows_stop_the_gate() -> None:
    with pytest.raises(DataError, match="no rows to check"):
        gate([_result(0, checked=0)], "customers")


def test_a_broken_rule_about_the_table_stops_whatever_share_of_rows_may_fail() -> None:
    small = RuleResult("volume", "*", "error", "must have at least 9 rows", 1, 1, ("4",), "table")
    with pytest.raises(DataError, match=r"volume\(\*\) must have at least 9 rows, found '4'\."):
        gate([small], "customers", max_failed_share=1.0)


def test_without_table_rules_the_rows_are_not_read(customers: DataFrame) -> None:
    assert check_table(customers, []) == []
