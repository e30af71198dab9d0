"""A verb that uses a model knows what it was trained on; costs are the command's."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from churn.config import ChurnConfig
from churn.evaluate import ceiling
from churn.features import FEATURES
from shared.delta.read import read
from shared.delta.tables import Warehouse
from shared.registry import documents, models, tracking
from tests.churn.conftest import QUICK, Churn


@pytest.fixture
def telco(telco_run: dict[str, Any], tmp_path: Path) -> str:
    """A copy of the warehouse of the run on customers."""
    return str(shutil.copytree(telco_run["warehouse"], tmp_path / "warehouse"))


def evaluation(warehouse: str) -> dict[str, Any]:
    client = tracking.connect(ChurnConfig(warehouse=warehouse), "churn")
    return documents.added(models.find(client, "churn", models.CHALLENGER), "evaluation")


def test_evaluating_alone_gives_the_metrics_of_the_run_and_the_decision_by_the_costs_of_the_command(
    churn: Churn, telco_run: dict[str, Any], telco: str
) -> None:
    costs = {"contact": 60.0, "value_saved": 400.0, "success_rate": 0.3}
    result = churn("evaluate", "--json", "--warehouse", telco, f"--set=costs={json.dumps(costs)}", QUICK[1])

    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)["metrics"]
    for kind, name in (("test", "auc"), ("test", "log_loss"), ("test", "rows"), ("baseline", "log_loss")):
        assert metrics[kind][name] == pytest.approx(telco_run["metrics"][kind][name]), name
    stored = evaluation(telco)
    assert stored["costs"] == costs
    assert stored["confusion"]["threshold"] == pytest.approx(0.5)
    found = stored["confusion"]
    assert stored["profit_at_threshold"] == pytest.approx(
        found["true_positives"] * 0.3 * 400 - (found["true_positives"] + found["false_positives"]) * 60
    )


@pytest.mark.parametrize(
    "settings", [{"source": "somewhere"}, {"label": {"gap_days": 0}}, {"label": {"outcome_days": 60}}]
)
def test_there_is_no_ceiling_where_the_truth_is_not_known(
    spark: SparkSession, small_run: dict[str, Any], settings: dict[str, Any]
) -> None:
    rows = read(spark, Warehouse(small_run["warehouse"]).table(FEATURES)).where("split = 'test'")

    assert ceiling(spark, ChurnConfig(warehouse=small_run["warehouse"], **settings), rows) == {}
    assert ceiling(spark, ChurnConfig(warehouse=small_run["warehouse"]), rows)["rows"] == rows.count()
