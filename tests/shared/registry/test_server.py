"""The registry behind a real tracking server, which also hands the files over: nothing of it lies where the code could look."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from pyspark.ml import PipelineModel
from pyspark.ml.feature import SQLTransformer
from pyspark.sql import SparkSession

from shared.core.run import RunConfig
from shared.registry import documents, models, tracking, versions
from tests.postgres import free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of an MLflow server with a database and a folder of its own."""
    port = free_port()
    store, files, log = tmp_path / "server.db", tmp_path / "files", tmp_path / "server.log"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{store}", "--artifacts-destination", str(files)]
    address = f"http://127.0.0.1:{port}"
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output, cwd=tmp_path) as process:
        try:
            for _ in range(240):
                try:
                    urlopen(f"{address}/health", timeout=5).close()
                    break
                except (URLError, OSError):
                    assert process.poll() is None, log.read_text()
                    time.sleep(0.25)
            else:
                pytest.fail(f"not up in a minute: {log.read_text()}")
            yield address
        finally:
            process.terminate()
            tracking.mlflow.set_tracking_uri(None)
            tracking.mlflow.set_registry_uri(None)


def test_a_model_and_its_documents_go_through_a_tracking_server(
    spark: SparkSession, server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = RunConfig(warehouse=str(tmp_path / "warehouse"), tracking_uri=server)
    client = tracking.connect(config, "things")
    whole = PipelineModel([SQLTransformer(statement="SELECT *, id + 1 AS y FROM __THIS__")])

    with tracking.training_run(config, "one", {"gold_x": 3}) as run:
        made = models.register(client, run, "things", whole, documents={"training": {"inputs": ["id"]}})
    documents.add(made, "evaluation", {"auc": 0.5})
    versions.point(client, "things", models.CHAMPION, made.version)

    found = models.find(client, "things", models.CHAMPION)
    assert found.run.info.artifact_uri.startswith("mlflow-artifacts:")
    assert documents.logged(found, "training") == {"inputs": ["id"]}
    assert documents.added(found, "evaluation") == {"auc": 0.5}
    assert models.load(found).transform(spark.range(1)).first()["y"] == 1
    assert capfd.readouterr().out == ""  # which is kept for what --json prints
