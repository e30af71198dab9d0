"""Retraining decides from what monitoring finds: keep, stop, or train a challenger that the gates judge."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn.features import FEATURES
from churn.schema import CUSTOMER_ID, LABEL, SNAPSHOT_DATE
from shared.delta.read import read
from shared.delta.tables import Warehouse
from shared.delta.write import overwrite
from tests.churn.conftest import QUICK, Churn, Runs


@pytest.fixture
def warehouse(small_run: dict[str, Any], tmp_path: Path) -> Warehouse:
    return Warehouse(str(shutil.copytree(small_run["warehouse"], tmp_path / "warehouse")))


def features(spark: SparkSession, warehouse: Warehouse) -> DataFrame:
    return read(spark, warehouse.table(FEATURES))


def test_a_champion_that_is_still_right_is_kept(churn: Churn, warehouse: Warehouse) -> None:
    result = churn("retrain", "--json", "--warehouse", warehouse.root)

    assert result.exit_code == 0, result.output
    step = json.loads(result.stdout)["steps"][0]
    assert step["decision"] == "keep"
    assert "no matured label shows a loss" in step["because"] or step["because"] == "nothing is out of bounds"


def test_nothing_is_trained_on_broken_data(spark: SparkSession, churn: Churn, warehouse: Warehouse) -> None:
    rows = features(spark, warehouse)
    newest = rows.where("split = 'current'").withColumn(SNAPSHOT_DATE, F.date_add(SNAPSHOT_DATE, 30))
    overwrite(rows.unionByName(newest.withColumn("minutes_30", F.lit(None).cast("double"))), warehouse.table(FEATURES))

    result = churn("retrain", "--warehouse", warehouse.root)

    assert result.exit_code == 3
    assert "[RETRAIN_DATA_BROKEN]" in result.stderr
    assert "minutes_30" in result.stderr


@pytest.mark.slow
def test_a_champion_that_lost_is_replaced_by_one_that_learned_what_changed(
    spark: SparkSession, churn: Churn, run_once: Runs, tmp_path: Path
) -> None:
    # A run of its own: its registry gets a second version.
    warehouse = Warehouse(run_once("retrained", "--set=sample.customers=500", *QUICK)["warehouse"])
    rows = features(spark, warehouse)
    # From now on those leave who use the service much, in 17 of 20 cases; nobody did when the champion was trained.
    draw = F.pmod(F.xxhash64(CUSTOMER_ID, SNAPSHOT_DATE), F.lit(20))
    leaves = ((F.col("minutes_30") > 60) == (draw < 17)).cast("int")
    changed = rows.withColumn(LABEL, F.when(F.col(LABEL).isNotNull(), leaves))
    overwrite(changed.select(*rows.columns), warehouse.table(FEATURES))

    result = churn("retrain", "--json", "--warehouse", warehouse.root, *QUICK)

    assert result.exit_code == 0, result.output
    step = json.loads(result.stdout)["steps"][0]
    assert step["decision"] == "promoted"
    assert "auc" in step["because"].lower() or "brier" in step["because"].lower()
    ledger = json.loads(churn("ledger", "--json", "--warehouse", warehouse.root).stdout)["rows"]
    assert [(row["action"], row["champion_after"]) for row in ledger] == [("promoted", 1), ("promoted", 2)]
    again = json.loads(churn("retrain", "--json", "--warehouse", warehouse.root).stdout)["steps"][0]
    assert again["decision"] == "keep"
