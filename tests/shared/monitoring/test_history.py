"""What monitoring keeps is of one training run, and is kept once."""

from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from shared.delta.tables import Warehouse
from shared.monitoring import history
from shared.monitoring.history import ModelKey
from shared.monitoring.profile import Profile


def test_windows_are_of_a_training_run_and_are_written_once(spark: SparkSession, tmp_path: Path) -> None:
    table = Warehouse(str(tmp_path)).table("ops_x_profile_metrics")
    one, other = ModelKey("m", 1, "a"), ModelKey("m", 1, "b")  # version 1 of two registries

    def append(model: ModelKey, run_id: str, mean: float) -> None:
        row = history.profile_row(Profile("w", None, None, "x", 3, 0, (1, 2), mean, 1.0, 0.0, 2.0))
        history.append(spark, table, history.PROFILE, [row], model=model, run_id=run_id, key=["w"])

    def means(model: ModelKey) -> list[Any]:
        return [(row["run_id"], row["avg"]) for row in history.of_model(spark, table, model)]

    append(one, "first", 0.3)
    append(one, "second", 0.1 + 0.2)  # the sum in another order

    assert means(one) == [("first", 0.3)]
    assert means(other) == []
    append(other, "third", 5.0)
    assert (means(one), means(other)) == ([("first", 0.3)], [("third", 5.0)])
