"""The summary of a check as a table."""

from pyspark.sql import SparkSession

from shared.quality.report import COLUMNS, as_rows
from shared.quality.suite import RuleResult


def test_the_summary_table_has_a_row_for_every_rule_and_broken_ones_first(spark: SparkSession) -> None:
    fine = RuleResult("not_null", "id", "error", "must have a value", 2000, 0)
    broken = RuleResult("in_set", "plan", "warning", "must be one of a", 2000, 1500, ("x\ny", "z"))

    rows = as_rows([fine, broken])

    assert [row["rule"] for row in rows] == ["in_set", "not_null"]
    assert rows[0] == {
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
    table = spark.createDataFrame(rows, COLUMNS).collect()
    assert [row.asDict() for row in table] == rows
