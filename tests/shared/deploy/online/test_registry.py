"""The service takes its models from the registry, and only as they were registered."""

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import httpx
import pytest
from pyspark.ml import PipelineModel
from pyspark.sql import SparkSession

from shared.core.errors import ModelError
from shared.core.run import RunConfig
from shared.delta.tables import Warehouse
from shared.deploy.export.publish import exporter
from shared.deploy.online import bundle
from shared.deploy.online.registry import RegistrySource
from shared.deploy.online.service import Served, Version
from shared.features.sql_steps import adding
from shared.registry import documents, files, models, promotion, tracking, versions
from shared.registry.gates import Gate, Verdict
from shared.registry.tracking import MlflowClient
from shared.registry.versions import Registered
from tests.shared.deploy.online.conftest import CONTRACT, graph

PASSED = {"rows": 1_050, "edge_rows": 50, "largest_difference": 1e-12, "tolerance": 1e-5}

PROGRAM = """
import sys
from shared.core.run import RunConfig
from shared.deploy.online import server
from shared.deploy.online.metrics import OnlineMetrics
from shared.deploy.online.registry import RegistrySource
from shared.deploy.online.service import Service
from shared.deploy.online.settings import ServingConfig

source = RegistrySource(RunConfig(warehouse=sys.argv[1]), "things", "champion", lambda contract, run: contract.threshold)
config = ServingConfig(port=0, insecure_local=True, poll_seconds=0.1)
server.run(Service(source, config, OnlineMetrics("things")), [], lambda address: print(address, flush=True))
"""


@contextmanager
def serving(warehouse: str) -> Iterator[httpx.Client]:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, warehouse], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        with httpx.Client(base_url=process.stdout.readline().strip(), timeout=60) as http:
            yield http
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def challenger(
    spark: SparkSession,
    client: MlflowClient,
    config: RunConfig,
    slope: float,
    *,
    exported: bool = True,
    parity: dict[str, Any] | None = PASSED,
) -> Version:
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
    if parity is not None:
        documents.add(made, "evaluation", {"parity": parity})
    return Version(made.version, run.info.run_id)


def champion(
    spark: SparkSession, client: MlflowClient, config: RunConfig, slope: float, *, exported: bool = True
) -> Version:
    made = challenger(spark, client, config, slope, exported=exported)
    versions.point(client, "things", models.CHAMPION, made.number)
    return made


@pytest.fixture
def registered(client: MlflowClient, config: RunConfig, tmp_path: Path) -> Registered:
    """A version that holds nothing but a bundle."""
    model = tmp_path / "model"
    bundle.write(model / bundle.FOLDER, CONTRACT, graph())
    with tracking.training_run(config, "bundle", {}) as run:
        logged = client.create_logged_model(run.info.experiment_id, source_run_id=run.info.run_id)
        tags = {files.MANIFEST_TAG: files.write_manifest(model)}
        client.log_model_artifacts(logged.model_id, str(model))
        client.create_registered_model("things")
        client.create_model_version("things", logged.model_uri, run.info.run_id, tags=tags)
    versions.point(client, "things", models.CHAMPION, 1)
    return versions.find(client, "things", models.CHAMPION)


def source(config: RunConfig, **options: bool) -> RegistrySource:
    return RegistrySource(config, "things", models.CHAMPION, lambda contract, run: contract.threshold, **options)


def loaded(config: RunConfig, **options: bool) -> Served:
    found = source(config, **options)
    return found.load(found.newest())


def test_the_champion_is_served_and_the_next_one_after_it(
    spark: SparkSession, client: MlflowClient, config: RunConfig
) -> None:
    first = champion(spark, client, config, 0.1)
    served = loaded(config)

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


def test_a_service_that_runs_follows_a_promotion_and_a_rollback(
    spark: SparkSession, client: MlflowClient, config: RunConfig
) -> None:
    warehouse = Warehouse(config.warehouse)
    verdict = Verdict((Gate("gain", True, "better", {}),), table_version=3)
    champion(spark, client, config, 0.1)
    with serving(config.warehouse) as http:

        def answer() -> tuple[int, float]:
            answered = http.post("/score", json={"features": {"visits": 3, "is_new": False}}).raise_for_status().json()
            return answered["model"]["version"], round(answered["probability"], 9)

        def becomes(expected: tuple[int, float]) -> bool:
            deadline = time.monotonic() + 60
            while answer() != expected and time.monotonic() < deadline:
                time.sleep(0.05)
            return answer() == expected

        assert answer() == (1, 0.3)
        challenger(spark, client, config, 0.2)
        time.sleep(0.3)
        assert answer() == (1, 0.3)  # a challenger alone changes nothing
        promotion.promote(spark, warehouse, client, "things", "p", lambda *_: verdict)
        assert becomes((2, 0.6))
        promotion.rollback(spark, warehouse, client, "things", "r")
        assert becomes((1, 0.3))


def test_a_model_that_was_deleted_and_trained_anew_is_another_version_of_the_same_number(
    spark: SparkSession, client: MlflowClient, config: RunConfig
) -> None:
    first = champion(spark, client, config, 0.1)
    client.delete_registered_model("things")
    second = champion(spark, client, config, 0.2)

    assert (first.number, second.number) == (1, 1)
    assert source(config).newest() == second != first
    assert source(config).load(second).version == second
    with pytest.raises(ModelError, match="MODEL_MISSING"):
        source(config).load(first)


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


def test_a_model_that_was_not_found_to_answer_as_spark_does_is_not_served(
    registered: Registered, config: RunConfig
) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "EXPORT_NOT_COMPARED"),
        ({**PASSED, "largest_difference": None}, "EXPORT_NOT_COMPARED"),
        ({**PASSED, "rows": 0}, "EXPORT_NOT_COMPARED"),
        ({**PASSED, "rows": 1_049}, "EXPORT_NOT_COMPARED"),
        ({**PASSED, "largest_difference": 1e-4}, "EXPORT_MISMATCH"),
        ({**PASSED, "largest_difference": 1e-4, "tolerance": 0.5}, "EXPORT_MISMATCH"),
        ({**PASSED, "largest_difference": math.inf}, "EXPORT_MISMATCH"),
        ({**PASSED, "largest_difference": math.nan}, "EXPORT_MISMATCH"),
    ]
    with pytest.raises(ModelError, match="EXPORT_NOT_COMPARED"):  # no evaluation yet
        loaded(config)
    for parity, code in cases:
        documents.add(registered, "evaluation", {"parity": parity})
        with pytest.raises(ModelError) as refusal:
            loaded(config)
        assert refusal.value.code == code, parity
        assert loaded(config, require_parity=False).version.number == 1
    documents.add(registered, "evaluation", {"parity": PASSED})
    assert loaded(config).version.number == 1


def test_the_evaluation_of_another_model_in_its_place_proves_nothing(registered: Registered, config: RunConfig) -> None:
    documents.add(registered, "evaluation", {"parity": {**PASSED, "largest_difference": 1e-4}})
    (file,) = Path(urlparse(registered.run.info.artifact_uri).path).glob("evaluation-*.json")
    file.write_text(json.dumps({"parity": PASSED}))  # whoever may write where files lie can

    with pytest.raises(ModelError, match="DOCUMENT_CHANGED"):
        loaded(config)


def test_a_model_leaves_no_files_behind_whether_it_is_taken_or_not(
    registered: Registered, config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    loaded(config, require_parity=False)
    with pytest.raises(ModelError):
        loaded(config)
    assert not list(tmp_path.glob("model-*"))
