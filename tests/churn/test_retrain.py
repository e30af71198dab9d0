"""Retraining decides from what monitoring finds: keep, stop, or train a challenger that the gates judge."""

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn.algorithms.candidates import PROBABILITY
from churn.features import FEATURES, SPLIT
from churn.monitor import ALERTS, Standing
from churn.retrain import _broken
from churn.schema import CUSTOMER_ID, LABEL, SNAPSHOT_DATE
from shared.delta.read import read
from shared.delta.tables import Warehouse
from shared.delta.write import overwrite
from shared.monitoring.bins import ColumnBins
from shared.monitoring.history import ModelKey
from shared.monitoring.profile import Profile
from shared.monitoring.quality import Rejected
from shared.monitoring.settings import MonitoringConfig
from shared.monitoring.watch import Watched, judge
from tests.churn.conftest import QUICK, Churn


@pytest.fixture
def warehouse(small_run: dict[str, Any], tmp_path: Path) -> Warehouse:
    return Warehouse(str(shutil.copytree(small_run["warehouse"], tmp_path / "warehouse")))


def features(spark: SparkSession, warehouse: Warehouse) -> DataFrame:
    return read(spark, warehouse.table(FEATURES))


@pytest.mark.slow
def test_a_population_that_changed_is_no_reason_to_train(
    spark: SparkSession, churn: Churn, warehouse: Warehouse
) -> None:
    rows = features(spark, warehouse)
    # After training four of five are of one region; who leaves is as it was, and the region plays no part in it.
    is_moved = ~F.col(SPLIT).isin("train", "validation") & (F.pmod(F.xxhash64(CUSTOMER_ID), F.lit(5)) > 0)
    one = rows.agg(F.min("region")).collect()[0][0]
    overwrite(
        rows.withColumn("region", F.when(is_moved, F.lit(one)).otherwise(F.col("region"))), warehouse.table(FEATURES)
    )

    result = churn("retrain", "--json", "--warehouse", warehouse.root)

    assert result.exit_code == 0, result.output
    step = json.loads(result.stdout)["steps"][0]
    assert step["decision"] == "keep"
    assert step["because"].startswith(
        "the population changed, and no matured label shows a loss (region: total variation "
    )


@pytest.mark.slow
def test_nothing_is_trained_on_broken_data(spark: SparkSession, churn: Churn, warehouse: Warehouse) -> None:
    rows = features(spark, warehouse)
    newest = rows.where("split = 'current'").withColumn(SNAPSHOT_DATE, F.date_add(SNAPSHOT_DATE, 30))
    overwrite(rows.unionByName(newest.withColumn("minutes_30", F.lit(None).cast("double"))), warehouse.table(FEATURES))

    alerts = warehouse.root + "/alerts.jsonl"
    result = churn("retrain", "--warehouse", warehouse.root, f"--set=monitoring.sinks.file={alerts}")

    assert result.exit_code == 3
    assert "[RETRAIN_DATA_BROKEN]" in result.stderr
    assert "minutes_30" in result.stderr
    sent = [json.loads(line) for line in Path(alerts).read_text().splitlines()]
    assert ("data", "minutes_30") in {(alert["kind"], alert["subject"]) for alert in sent}
    noted = read(spark, warehouse.table(ALERTS)).where("kind = 'data'").collect()
    assert "minutes_30" in {row["subject"] for row in noted}  # so that monitor does not send it again

    assert "--set monitoring.may_change=[COLUMN]" in result.stderr
    for verb in ("retrain", "monitor"):
        result = churn(verb, "--warehouse", warehouse.root, "--set=monitoring.may_change=[minutes_3]")
        assert (result.exit_code, "[MAY_CHANGE_UNKNOWN]" in result.stderr) == (2, True), result.output
    result = churn("retrain", "--json", "--warehouse", warehouse.root, "--set=monitoring.may_change=[minutes_30]")
    assert json.loads(result.stdout)["steps"][0]["decision"] == "keep", result.output
    assert churn("retrain", "--warehouse", warehouse.root).exit_code == 3  # the setting is not kept


def test_what_ingestion_put_aside_is_of_no_column_that_may_change() -> None:
    trend = [Rejected(date(2025, 1, day), 10_000, bad) for day, bad in ((1, 100), (2, 400))]
    watched = Watched(ModelKey("m", 1, "r"), [ColumnBins("x", "numeric")], [], {}, LABEL, PROBABILITY)
    profiles = [Profile("2025-01-01", None, None, "x", 0, 0, ())]
    found = judge(profiles, [], {}, watched, MonitoringConfig(), rejected=trend)
    champion: Any = None

    message = str(_broken(Standing(champion, watched, found, trend), ""))

    assert "ingestion: 4.0% of the rows were put aside" in message
    assert "may_change" not in message


@pytest.mark.slow
def test_a_champion_that_lost_is_replaced_by_one_that_learned_what_changed(
    spark: SparkSession, churn: Churn, tmp_path: Path
) -> None:
    warehouse = Warehouse(str(tmp_path / "warehouse"))
    given = ("--warehouse", warehouse.root, "--set=sample.customers=500", *QUICK)

    def step(verb: str, *options: str) -> dict[str, Any]:
        result = churn(verb, "--json", *given, *options)
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)["steps"][0]
        return found

    for verb in ("sample", "ingest", "features"):
        step(verb)
    first = step("retrain")
    assert (first["decision"], first["because"]) == ("promoted", "there is no champion")
    rows = features(spark, warehouse)
    # From now on those leave who use the service much, in 17 of 20 cases; nobody did when the champion was trained.
    draw = F.pmod(F.xxhash64(CUSTOMER_ID, SNAPSHOT_DATE), F.lit(20))
    leaves = ((F.col("minutes_30") > 60) == (draw < 17)).cast("int")
    changed = rows.withColumn(LABEL, F.when(F.col(LABEL).isNotNull(), leaves))
    overwrite(changed.select(*rows.columns), warehouse.table(FEATURES))

    refused = step("retrain", "--set=gates.min_gain=9")
    assert refused["decision"] == "kept"
    assert "auc" in refused["because"].lower() or "brier" in refused["because"].lower()
    assert "gain" in str(refused["refused"])

    assert step("retrain")["decision"] == "promoted"
    ledger = json.loads(churn("ledger", "--json", "--warehouse", warehouse.root).stdout)["rows"]
    moves = [(row["action"], row["champion_after"]) for row in ledger if row["action"] == "promoted"]
    assert moves == [("promoted", 1), ("promoted", 3)]
    assert step("retrain")["decision"] == "keep"
