"""The online service as a process, against the scores of the batch: the same customer has the same probability."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from pyspark.sql import SparkSession

from churn.features import FEATURES, SPLIT
from churn.schema import SUPPORT
from churn.score_batch import SCORES
from shared.core.run import RunConfig
from shared.delta.read import read
from shared.delta.tables import Warehouse
from shared.registry import documents, tracking
from shared.registry.versions import made_by
from tests.churn.conftest import Churn
from tests.churn.written import messages_of


@contextmanager
def serving(warehouse: str, *options: str) -> Iterator[httpx.Client]:
    command = [sys.executable, "-m", "churn.serve", "--warehouse", warehouse, "--set=serving.port=0", *options]
    environment = {**os.environ, "CHURN_KEY": "let me in"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout
        line = process.stdout.readline()
        if not line:
            pytest.fail(process.communicate()[1])
        with httpx.Client(base_url=line.split()[-1], headers={"X-API-Key": "let me in"}, timeout=60) as client:
            yield client
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        if process.poll() is None:
            process.kill()


@pytest.mark.parametrize("which", ["small_run", "telco_run"])
def test_online_and_batch_give_the_same_probability_decision_and_reasons(
    spark: SparkSession, which: str, request: pytest.FixtureRequest
) -> None:
    run: dict[str, Any] = request.getfixturevalue(which)
    warehouse = Warehouse(run["warehouse"])
    batch = {row["customer_id"]: row for row in read(spark, warehouse.table(SCORES)).collect()}
    features = read(spark, warehouse.table(FEATURES))
    current = features.where(f"{SPLIT} = 'current'") if which == "small_run" else features
    rows = [row.asDict() for row in current.collect() if row["customer_id"] in batch]
    if which == "small_run":  # the service gets what was written, and makes words of it itself
        written = messages_of(read(spark, warehouse.table(SUPPORT.name)), rows[0]["snapshot_date"])
        rows = [{**row, "messages_90": written.get(row["customer_id"])} for row in rows]
        told = [reason["feature"] for score in batch.values() for reason in score["reasons"]]
        assert told.count("messages_90") > 3

    with serving(run["warehouse"], "--set=serving.keys=['env:CHURN_KEY']") as client:
        names = client.get("/model").json()["features"]
        asked = [{"id": row["customer_id"], "features": {name: row[name] for name in names}} for row in rows]
        answers = client.post("/score/bulk", json={"rows": asked}).raise_for_status().json()["rows"]
        assert client.post("/score", json=asked[0], headers={"X-API-Key": "wrong"}).status_code == 401

    assert len(answers) == len(batch) > 50
    largest = max(abs(answer["probability"] - batch[answer["id"]]["probability"]) for answer in answers)
    assert largest < 1e-9
    for answer in answers:
        score = batch[answer["id"]]
        assert answer["decision"] == score["decision"]
        assert {each["value"] for each in answer["reasons"] if each["feature"] == "messages_90"} == {
            each["value"] for each in score["reasons"] if each["feature"] == "messages_90"
        }
        assert [each["contribution"] for each in answer["reasons"]] == pytest.approx(
            [each["contribution"] for each in score["reasons"]], abs=2e-6
        )
    named = [[each["feature"] for each in answer["reasons"]] for answer in answers]
    wanted = [[each["feature"] for each in batch[answer["id"]]["reasons"]] for answer in answers]
    # Two features of one contribution may change places by its last digit.
    assert sum(one == other for one, other in zip(named, wanted, strict=True)) > 0.95 * len(named)


def test_the_evaluation_holds_the_comparison_with_spark(telco_run: dict[str, Any]) -> None:
    client = tracking.connect(RunConfig(warehouse=telco_run["warehouse"]), "churn")
    model = made_by(client, "churn", tracking.find_run(client, "churn", telco_run["run_id"]))
    evaluation = documents.added(model, "evaluation")

    parity = evaluation["parity"]
    assert parity["rows"] - parity["edge_rows"] == 1_000  # of 500 customers
    assert parity["drawn_rows"] == 500
    assert parity["edge_rows"] > 20
    assert parity["largest_difference"] < 1e-9


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((), 2, "KEYS_MISSING"),
        (("--set=serving.keys=['env:CHURN_KEY_THAT_IS_NOT']",), 5, "SECRET_NOT_FOUND"),
        (("--set=serving.keys=['hunter2']",), 2, "SECRET_NOT_A_REFERENCE"),
        (("--set=serving.insecure_local=true", "--set=serving.host=0.0.0.0"), 2, "KEYS_MISSING"),
        (("--set=serving.insecure_local=true", "--set=serving.alias=models:/x/1"), 2, "CONFIG_INVALID"),
        (("--set=serving.insecure_local=true",), 4, "MODEL_MISSING"),
    ],
)
def test_a_service_that_may_not_start_says_why(
    churn: Churn, tmp_path: Any, options: tuple[str, ...], code: int, said: str
) -> None:
    result = churn("serve", "--warehouse", tmp_path / "warehouse", *options)

    assert result.exit_code == code, result.output
    assert f"[{said}]" in result.stderr
    assert "hunter2" not in result.output
