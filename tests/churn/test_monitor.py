"""Monitoring a real run: windows are computed once, drift that is planted is found, and what breaks is said."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from churn.config import ChurnConfig
from churn.features import FEATURES
from churn.monitor import DRIFTS, PERFORMANCES, PROFILES, _figures, send, stand
from churn.pipeline import VERTICAL
from shared.delta.digest import digest
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse
from shared.delta.write import overwrite
from shared.monitoring import metrics
from shared.registry import documents, tracking
from shared.registry.versions import CHAMPION, find
from tests.churn.conftest import SMALL, Churn, Runs

TABLES = (PROFILES, DRIFTS, PERFORMANCES)


def monitored(churn: Churn, warehouse: str, *options: str) -> dict[str, Any]:
    result = churn("monitor", "--json", "--warehouse", warehouse, *options)
    assert result.exit_code == 0, result.output
    return {**json.loads(result.stdout), **json.loads(result.stdout)["steps"][0]}


@pytest.fixture(scope="module")
def watched(run_once: Runs, churn: Churn) -> dict[str, Any]:
    """A run on the embedded data, monitored once."""
    run = run_once("small", *SMALL)
    return {**run, "monitor": monitored(churn, run["warehouse"])}


def test_every_snapshot_is_a_window_and_only_new_ones_are_computed(
    spark: SparkSession, watched: dict[str, Any], churn: Churn
) -> None:
    warehouse, first = Warehouse(watched["warehouse"]), watched["monitor"]
    days = {str(row[0]) for row in read(spark, warehouse.table(FEATURES)).select("snapshot_date").distinct().collect()}
    before = [
        (latest_version(spark, warehouse.table(name)), digest(read(spark, warehouse.table(name)))) for name in TABLES
    ]

    again = monitored(churn, watched["warehouse"])

    assert (first["windows"], first["windows_new"], first["window"]) == (len(days), len(days), max(days))
    assert (again["windows"], again["windows_new"], again["alerts"]) == (len(days), 0, [])
    after = [
        (latest_version(spark, warehouse.table(name)), digest(read(spark, warehouse.table(name)))) for name in TABLES
    ]
    assert after == before


def test_profiles_count_every_row_of_every_window_and_slice(spark: SparkSession, watched: dict[str, Any]) -> None:
    warehouse = Warehouse(watched["warehouse"])
    features = read(spark, warehouse.table(FEATURES))
    profiles = read(spark, warehouse.table(PROFILES)).where("column_name = 'minutes_30'")
    held = F.aggregate("counts", F.lit(0).cast("long"), lambda total, n: total + n)
    assert profiles.where(held + F.col("num_nulls") != F.col("count")).count() == 0

    expected = {
        (str(r["snapshot_date"]), None): r["count"] for r in features.groupBy("snapshot_date").count().collect()
    }
    by_plan = features.groupBy("snapshot_date", "plan").count().collect()
    expected |= {(str(r["snapshot_date"]), r["plan"]): r["count"] for r in by_plan}
    found = profiles.where("slice_key IS NULL OR slice_key = 'plan'").collect()
    assert {(row["window"], row["slice_value"]): row["count"] for row in found} == expected


def test_performance_stands_beside_the_share_of_labels_and_waits_for_them(
    spark: SparkSession, watched: dict[str, Any]
) -> None:
    rows = read(spark, Warehouse(watched["warehouse"]).table(PERFORMANCES)).orderBy("window").collect()

    assert [row["labelled_share"] for row in rows] == [1.0] * (len(rows) - 1) + [0.0]
    assert (rows[-1]["auc"], rows[-1]["reason"]) == (None, "no label has matured yet")
    assert all(row["brier"] is not None for row in rows[:-1])


def test_the_page_is_one_file_that_shows_every_input_and_points_nowhere(watched: dict[str, Any]) -> None:
    text = Path(watched["monitor"]["report"]).read_text(encoding="utf-8")

    assert text.startswith("<!doctype html>")
    assert not any(sign in text for sign in ("<script", 'src="', 'href="http', "@import"))
    champion = find(tracking.connect(ChurnConfig(warehouse=watched["warehouse"]), "churn"), "churn", CHAMPION)
    inputs = documents.logged(champion, "training")["inputs"]
    assert all(inputs[kind] for kind in ("numeric", "categorical", "text"))
    named = [*(name for names in inputs.values() for name in names), "probability"]
    assert [name for name in named if f">{name}<" not in text] == []
    assert "AUC, with the labelled share" in text


@pytest.mark.slow
def test_values_that_go_missing_are_broken_data_and_can_stop_a_job(
    spark: SparkSession, watched: dict[str, Any], churn: Churn, tmp_path: Path
) -> None:
    warehouse = str(shutil.copytree(watched["warehouse"], tmp_path / "warehouse"))
    table = Warehouse(warehouse).table(FEATURES)
    # A new snapshot arrives in which the minutes are gone, a plan is new, and nobody wrote.
    rows = read(spark, table)
    newest = rows.where("split = 'current'").withColumn("snapshot_date", F.date_add("snapshot_date", 30))
    broken = newest.withColumns(
        {
            "minutes_30": F.lit(None).cast("double"),
            "plan": F.lit("gold"),
            "messages_90": F.array().cast("array<string>"),
        }
    )
    # The same rows a day later are no window: it would overlap the one that is known.
    overwrite(
        rows.unionByName(broken).unionByName(newest.withColumn("snapshot_date", F.date_add("snapshot_date", 1))), table
    )
    page, text = tmp_path / "warehouse" / "reports" / "monitoring.html", tmp_path / "churn.prom"

    result = churn(
        *("monitor", "--warehouse", warehouse, "--set=monitoring.sinks.webhook=env:NO_SUCH_HOOK"),
        *(f"--set=monitoring.sinks.file={tmp_path}/alerts.jsonl", f"--set=monitoring.sinks.textfile={text}"),
    )

    assert result.exit_code, result.output
    assert "NO_SUCH_HOOK" in result.stderr  # and all else is there
    sent = [json.loads(line) for line in (tmp_path / "alerts.jsonl").read_text().splitlines()]
    subjects = {alert["subject"] for alert in sent if alert["kind"] == "data"}
    assert {"minutes_30", "plan", "messages_90"} <= subjects, sent
    assert "The data are broken" in page.read_text(encoding="utf-8")
    held = [line for line in text.read_text().splitlines() if 'monitor_alerts{kind="data"' in line]
    assert float(held[0].split()[-1]) >= 2

    config = VERTICAL.config.load(*VERTICAL.layers(None), overrides=[f"warehouse={warehouse}"])
    standing = stand(spark, config, "later")
    state = standing.found.condition
    assert (state.data_broken, state.performance_lost) == (True, False)
    assert any("minutes_30" in reason for reason in state.reasons["data"])
    assert len(standing.found.windows) == watched["monitor"]["windows"] + 1
    figures = _figures(standing, config)
    assert figures["monitor_null_change_max"] == 1.0  # of a column without a value, which has no distribution
    assert set(figures) == {name.removeprefix(metrics.PREFIX) for name in metrics.NAMES}

    result = churn("monitor", "--warehouse", warehouse, "--set=monitoring.fail_on_alert=true")
    assert (result.exit_code, "[ALERTS_FIRED]" in result.stderr) == (3, True), result.output
    assert send(spark, config, standing, "later") == []  # what was delivered everywhere is sent once


@pytest.mark.slow
def test_of_a_table_without_dates_every_version_is_a_window(
    spark: SparkSession, telco_run: dict[str, Any], churn: Churn, tmp_path: Path
) -> None:
    warehouse = str(shutil.copytree(telco_run["warehouse"], tmp_path / "warehouse"))
    table = Warehouse(warehouse).table(FEATURES)
    trained = latest_version(spark, table)
    overwrite(read(spark, table), table)  # as every night, without anything new
    first = monitored(churn, warehouse)
    assert (first["windows"], first["window"], first["alerts"]) == (1, f"version-{trained:06d}", [])

    overwrite(read(spark, table).withColumn("monthly_charges", F.col("monthly_charges") * 2), table)
    second = monitored(churn, warehouse, "--set=monitoring.violations=1")

    assert (second["windows"], second["windows_new"]) == (2, 1)
    assert "monthly_charges" in second["drifted"]
    assert any("monthly_charges" in alert for alert in second["alerts"])
