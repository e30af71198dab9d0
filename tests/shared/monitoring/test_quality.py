"""The trend of what was put aside: by ingestions, from the versions of the table of their rules, and by a stream."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from pyspark.sql import SparkSession

from shared.core import clock
from shared.delta.read import history, read
from shared.delta.tables import TableRef, Warehouse
from shared.delta.write import overwrite
from shared.deploy.stream import decided_once
from shared.ingest.landing import Batch
from shared.monitoring.quality import CHECKED, REJECTED, Rejected, trend
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


def tables(root: Path) -> tuple[TableRef, TableRef]:
    warehouse = Warehouse(str(root))
    return warehouse.table("ops_churn_quality"), warehouse.table("ops_churn_stream")


def ingested(spark: SparkSession, table: TableRef, *rejected: int) -> None:
    for count in rejected:
        overwrite(spark.createDataFrame(rules(count), f"table string, {COLUMNS}"), table, schema_may_change=True)


def decided(spark: SparkSession, table: TableRef, number: int, moment: datetime, values: Mapping[str, int]) -> None:
    with clock.frozen(moment):
        decided_once(spark, table, Batch("a", number, may_be_repeat=False), lambda: values)


def test_every_ingestion_is_a_point_of_the_trend(spark: SparkSession, tmp_path: Path) -> None:
    table, no_stream = tables(tmp_path)
    assert trend(spark, table, no_stream) == []
    ingested(spark, table, 0, 30)

    found = trend(spark, table, no_stream)

    assert [(each.checked, each.rejected) for each in found] == [(1_200, 0), (1_200, 30)]
    times = history(spark, table).select("timestamp").collect()
    assert {each.day for each in found} == {row[0].astimezone(UTC).date() for row in times}


def test_every_day_of_a_stream_is_a_point_after_those_of_ingestions(spark: SparkSession, tmp_path: Path) -> None:
    of_rules, decisions = tables(tmp_path)
    first = datetime(2025, 1, 1, tzinfo=UTC)
    decided(spark, decisions, 0, first, {"model_version": 1})  # as code decided that did not count
    assert trend(spark, of_rules, decisions) == []
    counted = [
        (first + timedelta(days=2), 7, 7),
        (first + timedelta(hours=23, minutes=59), 30, 1),
        (first, 10, 2),
    ]
    for number, (moment, checked, rejected) in enumerate(counted, start=1):
        decided(spark, decisions, number, moment, {"model_version": 1, CHECKED: checked, REJECTED: rejected})
    days = [Rejected(date(2025, 1, 1), 40, 3), Rejected(date(2025, 1, 3), 7, 7)]
    assert trend(spark, of_rules, decisions) == days

    ingested(spark, of_rules, 30)

    ingestion, *others = trend(spark, of_rules, decisions)
    assert ((ingestion.checked, ingestion.rejected), others) == ((1_200, 30), days)


def test_the_trend_is_of_the_last_twelve_points(spark: SparkSession, tmp_path: Path) -> None:
    of_rules, decisions = tables(tmp_path)
    ingested(spark, of_rules, 10, 20, 30)
    texts = [json.dumps({CHECKED: 99, REJECTED: day}) for day in range(1, 14)]
    rows = [(text, datetime(2025, 1, day, tzinfo=UTC)) for day, text in enumerate(texts, start=1)]

    for count, expected in ((10, [20, 30, *range(1, 11)]), (13, range(2, 14))):
        overwrite(spark.createDataFrame(rows[:count], "decision string, decided_ts timestamp"), decisions)
        assert [each.rejected for each in trend(spark, of_rules, decisions)] == list(expected)


def test_a_rise_beyond_chance_is_said() -> None:
    day = date(2025, 1, 1)
    before, after, few = (Rejected(day, rows, bad) for rows, bad in ((9_000, 9), (9_000, 270), (40, 1)))

    assert after.rise([before], MonitoringConfig()) == "3.0% of the rows were put aside, 0.1% on 2025-01-01"
    assert before.rise([after], MonitoringConfig()) == ""
    assert few.rise([before], MonitoringConfig(alpha=1e-6)) == ""
    assert Rejected(day, 0, 0).rise([before], MonitoringConfig()) == ""
    assert after.rise([], MonitoringConfig()) == after.rise([Rejected(day, 0, 0)], MonitoringConfig()) == ""


def test_what_stays_broken_is_a_rise_the_second_time_too() -> None:
    first, monday, tuesday = (Rejected(date(2025, 1, day), 10_000, bad) for day, bad in ((5, 100), (6, 400), (7, 400)))

    assert monday.rise([first], MonitoringConfig()) == "4.0% of the rows were put aside, 1.0% on 2025-01-05"
    assert tuesday.rise([first, monday], MonitoringConfig()) == monday.rise([first], MonitoringConfig())


def test_one_of_many_ingestions_may_have_been_better_by_chance() -> None:
    day = date(2025, 1, 1)
    lucky, usual, newest = (Rejected(day, 300, bad) for bad in (3, 12, 13))

    assert newest.rise([lucky], MonitoringConfig(alpha=0.05)) != ""
    assert newest.rise([lucky, *[usual] * 10], MonitoringConfig(alpha=0.05)) == ""


def test_versions_that_vacuum_took_are_left_out_of_the_trend(spark: SparkSession, tmp_path: Path) -> None:
    table, no_stream = tables(tmp_path)
    ingested(spark, table, 0, 10, 30)
    there = {Path(name).name for name in read(spark, table).inputFiles()}
    old = [file for file in Path(str(table.path)).glob("*.parquet") if file.name not in there]
    assert len(old) >= 2
    for file in old:
        file.unlink()

    assert [each.rejected for each in trend(spark, table, no_stream)] == [30]
