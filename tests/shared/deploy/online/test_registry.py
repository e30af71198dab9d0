"""The service takes its models from the registry, and only as they were registered."""

from pathlib import Path

import pytest
from pyspark.ml import PipelineModel
from pyspark.sql import SparkSession

from shared.core.errors import ModelError
from shared.core.run import RunConfig
from shared.deploy.export.publish import exporter
from shared.deploy.online.registry import RegistrySource
from shared.features.sql_steps import adding
from shared.registry import models, tracking, versions
from shared.registry.tracking import MlflowClient


def champion(
    spark: SparkSession, client: MlflowClient, config: RunConfig, slope: float, *, exported: bool = True
) -> int:
    rows = spark.createDataFrame([], "visits bigint, is_new boolean")
    term = f"{slope}D * CAST(`visits` AS DOUBLE) + 0.25D * CAST(`is_new` AS DOUBLE)"
    derive = exporter(
        vertical="things",
        rows=rows,
        features=("visits", "is_new"),
        typical={"visits": 2.0, "is_new": 0.0},
        output="p",
        threshold=0.4,
        decisions=("call", "wait"),
    )
    with tracking.training_run(config, f"slope-{slope}", {"gold_x": 3}) as run:
        made = models.register(
            client, run, "things", PipelineModel([adding([f"{term} AS p"])]), derive=derive if exported else None
        )
    versions.point(client, "things", models.CHAMPION, made.version)
    return made.version


def source(config: RunConfig) -> RegistrySource:
    return RegistrySource(config, "things", models.CHAMPION, lambda contract, run: contract.threshold)


def test_the_champion_is_served_and_the_next_one_after_it(
    spark: SparkSession, client: MlflowClient, config: RunConfig
) -> None:
    first = champion(spark, client, config, 0.1)
    served = source(config).load(source(config).newest())

    assert (served.name, served.version, served.threshold) == ("things", first, 0.4)
    assert served.model.contract.inputs == {"visits": "int", "is_new": "boolean"}
    assert served.model.contract.typical == {"visits": 2, "is_new": False}
    assert served.model.probabilities([{"visits": 3, "is_new": True}]).tolist() == pytest.approx([0.55])

    second = champion(spark, client, config, 0.2)
    assert source(config).newest() == second
    for version, expected in (
        (second, 0.6),
        (first, 0.3),
    ):  # the one that is asked for, whatever the alias names by now
        model = source(config).load(version).model
        assert model.probabilities([{"visits": 3, "is_new": False}]).tolist() == pytest.approx([expected])


def test_a_changed_graph_is_not_served(spark: SparkSession, client: MlflowClient, config: RunConfig) -> None:
    version = champion(spark, client, config, 0.1)
    (graph,) = Path(config.warehouse).rglob("model.onnx")
    graph.write_bytes(graph.read_bytes().replace(b"p", b"q", 1))

    with pytest.raises(ModelError) as refusal:
        source(config).load(version)
    assert refusal.value.code == "MODEL_TAMPERED"


def test_a_model_that_was_not_exported_is_not_served(
    spark: SparkSession, client: MlflowClient, config: RunConfig
) -> None:
    version = champion(spark, client, config, 0.1, exported=False)

    with pytest.raises(ModelError) as refusal:
        source(config).load(version)
    assert refusal.value.code == "MODEL_INCOMPLETE"


def test_without_a_champion_nothing_is_served(client: MlflowClient, config: RunConfig) -> None:
    with pytest.raises(ModelError) as refusal:
        source(config).newest()
    assert refusal.value.code == "MODEL_MISSING"
