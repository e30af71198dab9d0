"""Routing of rows, counts and examples, and the gate."""

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.errors import ConfigError, DataError
from shared.quality.expectations import FAILURE_TYPE, Expectation, in_range, in_set, not_null, satisfies, unique
from shared.quality.suite import (
    RuleResult,
    check_table,
    count_broken,
    count_failures,
    gate,
    split,
    summarise,
    with_broken,
    with_failures,
)


@pytest.fixture(scope="module")
def rules(spark: SparkSession) -> list[Expectation]:
    return [not_null("id"), in_set("plan", ["a", "b"]), in_range("age", 0, 120, "warning")]


@pytest.fixture(scope="module")
def customers(spark: SparkSession) -> DataFrame:
    rows = [(1, "a", 30), (None, "x", 40), (3, "b", 130), (4, "y", -1)]
    return spark.createDataFrame(rows, "id int, plan string, age int")


def test_each_row_names_the_rules_it_breaks_in_order(
    spark: SparkSession, customers: DataFrame, rules: list[Expectation]
) -> None:
    no_id = ("not_null", "id", "null", "must have a value", "error")
    plan = "must be one of a, b"
    age = "must be from 0 to 120"
    expected = spark.createDataFrame(
        [
            (1, "a", 30, []),
            (None, "x", 40, [no_id, ("in_set", "plan", "x", plan, "error")]),
            (3, "b", 130, [("in_range", "age", "130", age, "warning")]),
            (4, "y", -1, [("in_set", "plan", "y", plan, "error"), ("in_range", "age", "-1", age, "warning")]),
        ],
        f"id int, plan string, age int, _failures {FAILURE_TYPE}",
    )
    assert_df_equality(with_failures(customers, rules), expected, ignore_row_order=True, ignore_nullable=True)


def test_every_row_is_accepted_or_rejected_and_a_warning_does_not_reject(
    customers: DataFrame, rules: list[Expectation]
) -> None:
    accepted, rejected = split(customers, rules)
    assert accepted.columns == customers.columns
    assert sorted(row["id"] for row in accepted.collect()) == [1, 3]
    found = {row["id"]: [failure["rule"] for failure in row["_failures"]] for row in rejected.collect()}
    assert found == {None: ["not_null", "in_set"], 4: ["in_set", "in_range"]}


def test_failures_from_parsing_are_kept_and_reject(spark: SparkSession) -> None:
    parsing = ("type", "age", "old", "must be int", "error")
    rows = spark.createDataFrame(
        [(1, "a", [parsing]), (2, "x", [parsing]), (3, "a", None), (4, "a", [])],
        f"id int, plan string, _failures {FAILURE_TYPE}",
    )
    rules = [in_set("plan", ["a"])]
    accepted, rejected = split(rows, rules)
    assert sorted(row["id"] for row in accepted.collect()) == [3, 4]
    found = {row["id"]: [f["rule"] for f in row["_failures"]] for row in rejected.collect()}
    assert found == {1: ["type"], 2: ["type", "in_set"]}
    both = {row["id"]: [f["rule"] for f in row["_failures"]] for row in with_failures(rows, rules).collect()}
    assert both == {1: ["type"], 2: ["type", "in_set"], 3: [], 4: []}


def test_without_rules_every_row_passes(customers: DataFrame) -> None:
    accepted, rejected = split(customers, [])
    assert accepted.count() == 4
    assert rejected.isEmpty()


def test_the_last_of_sixty_three_rules_has_its_own_bit_and_one_more_is_refused(customers: DataFrame) -> None:
    fine = satisfies("fine", "id", F.lit(True), "is fine")
    rules = [fine] * 62 + [not_null("id")]
    assert count_broken(with_broken(customers, rules), rules) == (4, [0] * 62 + [1])
    accepted, rejected = split(customers, rules)
    assert (accepted.count(), [row["_failures"][0]["rule"] for row in rejected.collect()]) == (3, ["not_null"])
    with pytest.raises(ConfigError, match="RULES_TOO_MANY"):
        with_broken(customers, [*rules, fine])


def test_counts_and_examples_of_each_rule(customers: DataFrame, rules: list[Expectation]) -> None:
    counted = count_broken(with_broken(customers, rules), rules)
    failed = count_failures(with_failures(customers, rules))
    found = summarise(counted, rules, {key: examples for key, (_, examples) in failed.items()})
    assert [(r.rule, r.checked, r.failed, r.share, r.examples) for r in found] == [
        ("not_null", 4, 1, 0.25, ("null",)),
        ("in_set", 4, 2, 0.5, ("x", "y")),
        ("in_range", 4, 2, 0.5, ("-1", "130")),
    ]


def test_values_that_identify_a_person_are_stars_alone_and_in_a_key(spark: SparkSession) -> None:
    people = spark.createDataFrame([("ann@x", 1), ("ann@x", 1)], "email string, day int")
    rules = [in_set("email", ["-"]), unique("email", "day"), in_set("day", [2])]
    found = count_failures(with_failures(people, rules), pii={"email"})
    assert {key: examples for key, (_, examples) in found.items()} == {
        ("in_set", "email"): ["***"],
        ("unique", "email+day"): ["***"],
        ("in_set", "day"): ["1"],
    }


def test_examples_are_three_at_most_short_and_absent_where_there_is_no_value(spark: SparkSession) -> None:
    rows = spark.range(20).select(
        F.concat(F.lpad(F.col("id").cast("string"), 2, "0"), F.repeat(F.lit("z"), 200)).alias("x")
    )
    rules = [in_set("x", ["-"]), satisfies("odd", "", F.lit(False), "is odd")]
    found = count_failures(with_failures(rows, rules))
    count, examples = found["in_set", "x"]
    assert count == 20
    assert 2 <= len(examples) <= 3
    assert {len(example) for example in examples} == {80}
    assert found["odd", ""] == (20, [])


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


def test_a_rule_can_have_its_own_share_and_a_warning_never_stops() -> None:
    gate([_result(30)], "customers", per_rule={("in_set", "plan"): 0.3})
    gate([_result(100, severity="warning")], "customers")
    with pytest.raises(DataError, match="GATE_FAILED"):
        gate([_result(1)], "customers", per_rule={("in_set", "plan"): 0.0})


def test_a_share_for_a_rule_that_is_not_checked_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"RULE_UNKNOWN.*Did you mean 'in_set\(plan\)'"):
        gate([_result(0)], "customers", per_rule={("in_set", "plam"): 0.5})


def test_no_rows_stop_the_gate_unless_they_are_allowed() -> None:
    with pytest.raises(DataError, match="no rows to check"):
        gate([_result(0, checked=0)], "customers")
    gate([_result(0, checked=0)], "customers", allow_empty=True)


def test_a_broken_rule_about_the_table_stops_whatever_share_of_rows_may_fail() -> None:
    small = RuleResult("volume", "*", "error", "must have at least 9 rows", 1, 1, ("4",), "table")
    with pytest.raises(DataError, match=r"volume\(\*\) must have at least 9 rows, found '4'\."):
        gate([small], "customers", max_failed_share=1.0)
    gate([small], "customers", per_rule={("volume", "*"): 1.0})


def test_without_table_rules_the_rows_are_not_read(customers: DataFrame) -> None:
    assert check_table(customers, []) == []
