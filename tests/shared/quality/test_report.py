"""The summary as a table, as rows and as text."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from chispa import assert_df_equality
from pyspark.sql import SparkSession

from shared.core.errors import DataError
from shared.quality.expectations import fresh, in_range, in_set, not_null, unique, volume
from shared.quality.report import as_rows, as_text, results, summary_table
from shared.quality.suite import (
    RuleResult,
    check_table,
    count_broken,
    count_failures,
    gate,
    summarise,
    with_broken,
    with_failures,
)

SUMMARY = (
    "rule string, column string, severity string, message string, scope string, "
    "checked_count bigint, failed_count bigint, failed_share double, examples array<string>"
)


def test_the_summary_table_has_a_row_for_every_rule(spark: SparkSession) -> None:
    rows = spark.createDataFrame(
        [(1, "ann", 5), (None, "bob", -1), (1, "cid", 7), (2, None, 99)], "id int, name string, n int"
    )
    rules = [not_null("id"), in_range("n", 0, 10), in_set("name", ["ann"], "warning"), unique("id")]
    found = summary_table(with_broken(rows, rules), rules, [volume(9), volume(1)], pii=["name"])
    expected = spark.createDataFrame(
        [
            ("not_null", "id", "error", "must have a value", "rows", 4, 1, 0.25, ["null"]),
            ("in_range", "n", "error", "must be from 0 to 10", "rows", 4, 2, 0.5, ["-1", "99"]),
            ("in_set", "name", "warning", "must be one of ann", "rows", 4, 2, 0.5, ["***"]),
            ("unique", "id", "error", "must not repeat", "rows", 4, 2, 0.5, ["1"]),
            ("volume", "*", "error", "must have at least 9 rows", "table", 1, 1, 1.0, ["4"]),
            ("volume", "*", "error", "must have at least 1 rows", "table", 1, 0, 0.0, []),
        ],
        SUMMARY,
    )
    assert_df_equality(found, expected, ignore_nullable=True)


def test_the_summary_table_agrees_with_the_counts_of_the_suite(spark: SparkSession) -> None:
    rows = spark.range(50).selectExpr(
        "id", "if(id % 7 = 0, null, id % 5) AS n", "date_add(date'2024-01-01', int(id)) AS day"
    )
    rules = [not_null("n"), in_range("n", 1, 3), in_range("id", high=40)]
    tables = [fresh("day", 1, datetime(2024, 1, 20, tzinfo=UTC)), volume(51)]
    checked = with_broken(rows, rules)
    failed = count_failures(with_failures(rows, rules))
    expected = summarise(count_broken(checked, rules), rules, {key: examples for key, (_, examples) in failed.items()})
    found = results(summary_table(checked, rules, tables))
    assert [(r.rule, r.column, r.checked, r.failed) for r in found[:3]] == [
        (r.rule, r.column, r.checked, r.failed) for r in expected
    ]
    assert found[3:] == check_table(checked, tables)


def test_the_source_is_read_once_for_all_rules_and_the_summary(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spark.range(10).selectExpr("id", "id % 3 AS n").write.parquet(str(tmp_path / "rows"))
    rules = [not_null("id"), in_range("n", 0, 1), unique("id"), in_set("n", [0, 1])]
    rows = spark.read.parquet(str(tmp_path / "rows"))
    found = summary_table(with_broken(rows, rules), rules, [volume(1), volume(99)])
    found.explain()
    plan = capsys.readouterr().out
    assert (plan.count("FileScan parquet"), plan.count("Window [")) == (1, 1)
    assert [r.failed for r in results(found)] == [0, 3, 0, 3, 0, 1]


def test_the_summary_of_no_rows_fails_at_the_gate(spark: SparkSession) -> None:
    rows = spark.createDataFrame([], "id int")
    (found,) = results(summary_table(with_broken(rows, [not_null("id")]), [not_null("id")]))
    assert (found.checked, found.failed, found.share, found.examples) == (0, 0, 0.0, ())
    with pytest.raises(DataError, match="GATE_FAILED"):
        gate([found], "customers")
    assert results(summary_table(with_broken(rows, []), [])) == []


def test_broken_rules_come_first_in_rows_and_text() -> None:
    fine = RuleResult("not_null", "id", "error", "must have a value", 2000, 0)
    broken = RuleResult("in_set", "plan", "warning", "must be one of a", 2000, 1500, ("x\ny", "z"))
    assert [row["rule"] for row in as_rows([fine, broken])] == ["in_set", "not_null"]
    assert as_rows([broken])[0] == {
        "rule": "in_set",
        "column": "plan",
        "severity": "warning",
        "message": "must be one of a",
        "scope": "rows",
        "checked_count": 2000,
        "failed_count": 1500,
        "failed_share": 0.75,
        "examples": ["x\ny", "z"],
    }
    assert as_text([fine, broken]).splitlines() == [
        "rule      column  severity  failed  of     share   examples",
        "in_set    plan    warning   1,500   2,000  75.00%  'x\\ny', 'z'",
        "not_null  id      error     0       2,000  0.00%",
    ]
