"""The trend of what ingestions put aside, from the versions of the table of their rules."""

from datetime import UTC, datetime
from pathlib import Path

from pyspark.sql import SparkSession

from shared.delta.read import read
from shared.delta.tables import Warehouse
from shared.delta.write import overwrite
from shared.monitoring.quality import Rejected, trend
from shared.monitoring.settings import MonitoringConfig
from shared.quality.report import COLUMNS, as_rows
from shared.quality.suite import ANY_RULE, RuleResult


def rules(rejected: int) -> list[dict[str, object]]:
    found = [RuleResult("not_null", "id", "error", "must be there", 1_000, rejected)]
    found += [RuleResult("in_range", "x", "warning", "should be small", 1_000, 500)]  # warnings put nothing aside
    if rejected:
        found.append(RuleResult(ANY_RULE, "*", "error", "must be fine in all", 1_000, rejected))
    fine = RuleResult("not_null", "id", "error", "must be there", 200, 0)
    return [{"table": "a", **row} for row in as_rows(found)] + [{"table": "b", **row} for row in as_rows([fine])]


def test_every_ingestion_is_a_point_of_the_trend(spark: SparkSession, tmp_path: Path) -> None:
    table = Warehouse(str(tmp_path)).table("ops_churn_quality")
    assert trend(spark, table) == []
    for rejected in (0, 30):
        overwrite(spark.createDataFrame(rules(rejected), f"table string, {COLUMNS}"), table, schema_may_change=True)

    found = trend(spark, table)

    assert [(each.version, each.checked, each.rejected) for each in found] == [(0, 1_200, 0), (1, 1_200, 30)]


def test_a_rise_beyond_chance_is_said() -> None:
    day = datetime(2025, 1, 1, tzinfo=UTC)
    before, after, few = (
        Rejected(place, day, rows, bad) for place, rows, bad in ((0, 9_000, 9), (1, 9_000, 270), (2, 40, 1))
    )

    assert after.rise([before], MonitoringConfig()) == "3.0% of the rows were put aside, 0.1% on 2025-01-01"
    assert before.rise([after], MonitoringConfig()) == ""
    assert few.rise([before], MonitoringConfig(alpha=1e-6)) == ""
    assert Rejected(3, day, 0, 0).rise([before], MonitoringConfig()) == ""
    assert after.rise([], MonitoringConfig()) == after.rise([Rejected(3, day, 0, 0)], MonitoringConfig()) == ""


def test_what_stays_broken_is_a_rise_the_second_time_too() -> None:
    first, monday, tuesday = (
        Rejected(place, datetime(2025, 1, place, tzinfo=UTC), 10_000, bad)
        for place, bad in ((5, 100), (6, 400), (7, 400))
    )

    assert monday.rise([first], MonitoringConfig()) == "4.0% of the rows were put aside, 1.0% on 2025-01-05"
    assert tuesday.rise([first, monday], MonitoringConfig()) == monday.rise([first], MonitoringConfig())


def test_one_of_many_ingestions_may_have_been_better_by_chance() -> None:
    day = datetime(2025, 1, 1, tzinfo=UTC)
    lucky, usual = Rejected(0, day, 300, 3), Rejected(1, day, 300, 12)
    newest = Rejected(9, day, 300, 13)

    assert newest.rise([lucky], MonitoringConfig(alpha=0.05)) != ""
    assert newest.rise([lucky, *[usual] * 10], MonitoringConfig(alpha=0.05)) == ""


def test_versions_that_vacuum_took_are_left_out_of_the_trend(spark: SparkSession, tmp_path: Path) -> None:
    table = Warehouse(str(tmp_path)).table("ops_churn_quality")
    for rejected in (0, 10, 30):
        overwrite(spark.createDataFrame(rules(rejected), f"table string, {COLUMNS}"), table, schema_may_change=True)
    there = {Path(name).name for name in read(spark, table).inputFiles()}
    old = [file for file in Path(str(table.path)).glob("*.parquet") if file.name not in there]
    assert len(old) >= 2
    for file in old:
        file.unlink()

    assert [(each.version, each.rejected) for each in trend(spark, table)] == [(2, 30)]
