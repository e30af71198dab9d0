"""A run that is trained again gives the same metrics, and where nothing can be compared nothing is called the same."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from churn import reproduce, train
from churn.config import ChurnConfig
from churn.features import FEATURES
from shared.core.errors import ModelError
from shared.delta.read import read
from shared.delta.tables import Warehouse
from shared.registry import tracking
from tests.churn.conftest import Churn


@pytest.mark.slow
def test_a_run_is_reproduced_from_its_table_versions_wherever_the_warehouse_is(
    spark: SparkSession, small_run: dict[str, Any], churn: Churn, tmp_path: Path
) -> None:
    moved = shutil.copytree(small_run["warehouse"], tmp_path / "moved")
    table = Warehouse(str(moved)).table(FEATURES)
    read(spark, table).where("pmod(hash(customer_id), 2) = 0").write.format("delta").mode("overwrite").save(table.path)
    trained: list[train.Trained] = []

    def fit(*arguments: Any) -> train.Trained:
        trained.append(train.fit(*arguments))
        return trained[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduce, "fit", fit)
        result = churn("reproduce", small_run["run_id"], "--json", "--warehouse", moved)

    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["metrics"].keys() == {"validation", "test"}
    assert found["metrics"]["test"]["auc"] == pytest.approx(small_run["metrics"]["test"]["auc"], rel=1e-9)
    assert found["steps"][0]["metrics_equal"] == sum(len(metrics) for metrics in found["metrics"].values()) >= 12
    newest = {"validation_": (train, train.fit), "test_": (reproduce, lambda *_: trained[0])}
    for kind, (module, again) in newest.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reproduce, "fit", again)
            patch.setattr(module, "read", lambda spark, ref, _: read(spark, ref))  # whatever was pinned
            result = churn("reproduce", "--warehouse", moved, "--run-id", small_run["run_id"])
        assert result.exit_code == 4
        assert f"[NOT_REPRODUCED] Metrics of run {small_run['run_id']} differ: {{'{kind}" in result.stderr


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[tracking.MlflowClient]:
    yield tracking.connect(ChurnConfig(warehouse=str(tmp_path)), "churn")
    tracking.mlflow.set_tracking_uri(None)
    tracking.mlflow.set_registry_uri(None)


@pytest.mark.parametrize(
    ("metrics", "digests", "status"),
    [
        ({}, {FEATURES: "d"}, "FINISHED"),
        ({"validation_auc": 0.8}, {FEATURES: ""}, "FINISHED"),
        ({"validation_auc": 0.8}, {}, "FINISHED"),
        ({"validation_auc": 0.8}, {FEATURES: "d"}, "KILLED"),
        ({"validation_auc": 0.8}, {FEATURES: "d"}, "RUNNING"),
    ],
)
def test_a_run_with_nothing_to_compare_is_not_reproduced(
    spark: SparkSession, registry: tracking.MlflowClient, tmp_path: Path, metrics: Any, digests: Any, status: str
) -> None:
    config = ChurnConfig(warehouse=str(tmp_path))
    with tracking.training_run(config, "killed", {FEATURES: 0}) as run:
        tracking.mlflow.log_metrics(metrics)
        tracking.keep_digests(run, digests)
    registry.update_run(run.info.run_id, status)

    with pytest.raises(ModelError, match=r"RUN_UNFINISHED") as error:
        reproduce.reproduce(spark, config, "killed")

    assert error.value.exit_code == 4
