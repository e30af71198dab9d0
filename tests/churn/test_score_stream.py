"""Events come once, whatever they are like, and change the scores of the customers they are about."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.ml import PipelineModel
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from churn.config import ChurnConfig
from churn.features import FEATURES, SPLIT
from churn.ingest import QUALITY
from churn.jobs import JOBS
from churn.monitor import stand
from churn.pipeline import VERTICAL
from churn.schema import STREAM_DECISIONS, SUPPORT
from churn.score_stream import SCORES, _Taker
from churn.train import MODEL
from shared.core import clock
from shared.core.config import redacted
from shared.core.errors import ModelError
from shared.core.run import RunConfig
from shared.delta.read import read
from shared.delta.tables import Warehouse, exists
from shared.delta.write import overwrite
from shared.deploy.online import bundle
from shared.deploy.online.bundle import OnlineModel
from shared.deploy.online.requests import Requests
from shared.features.sql_steps import adding
from shared.monitoring.quality import CHECKED, REJECTED, Rejected
from shared.quality.suite import ANY_RULE
from shared.registry import files, models, tracking, versions
from tests.churn.conftest import SMALL, Churn
from tests.churn.streams import (
    END,
    Event,
    asked,
    at_risk,
    contents,
    contract,
    joined,
    lines,
    paid,
    put,
    reasons_of,
    scores,
    used,
)
from tests.churn.written import messages_of
from tests.kafka_broker import Broker

TOMORROW = END + timedelta(days=1)


@pytest.fixture
def warehouse(small_run: dict[str, Any], tmp_path: Path) -> Warehouse:
    """A copy of the warehouse of the small run."""
    return Warehouse(str(shutil.copytree(small_run["warehouse"], tmp_path / "warehouse")))


def step(churn: Churn, verb: str, warehouse: Warehouse, *arguments: str) -> dict[str, Any]:
    result = churn(verb, "--json", "--warehouse", warehouse.root, *arguments)
    assert result.exit_code == 0, result.output
    done: dict[str, Any] = json.loads(result.stdout)["steps"][0]
    return done


def days_of(customers: list[str]) -> list[list[Event | str]]:
    """Three days of events about nine customers: new, late, repeated and broken ones."""
    a, b, c, d, e, f, g, h, i = customers
    first = [used(a, 0), used(a, 0), paid("p1", b, 0), asked("t1", c, 0, severity=9), "no json", '{"table": "else"}']
    second = [used(d, -20), used(a, 0), paid("p1", b, 0, failed=False), used("new", 0), asked("t2", e, 1)]
    third = [used(f, 1), used("new", 1), paid("p2", g, 1), asked("t3", h, 1), used(i, 1, minutes=0.1), used("else", 1)]
    # The contract of the new one ends, which the old row of it, coming late, does not undo.
    return [[*first, *joined("new", -3)], second, [*third, contract("new", -3, until=1), contract("new", -3)]]


def answers(spark: SparkSession, warehouse: Warehouse, day: date) -> dict[str, float]:
    """Return what the exported champion answers to requests about the customers of a day."""
    champion = versions.find(tracking.connect(RunConfig(warehouse=warehouse.root), MODEL), MODEL, versions.CHAMPION)
    model = OnlineModel.read(files.fetch(champion, bundle.FOLDER))
    written = messages_of(read(spark, warehouse.table(SUPPORT.name)), day)
    current = read(spark, warehouse.table(FEATURES)).where(f"{SPLIT} = 'current'").collect()
    rows = [{**row.asDict(), "messages_90": written.get(row["customer_id"])} for row in current]
    asked = [{"features": {name: row[name] for name in model.contract.inputs}} for row in rows]
    read_rows = Requests(model.contract, len(rows), 10_000).read_bulk(json.dumps({"rows": asked}).encode())
    probabilities = model.probabilities([each.row for each in read_rows])
    return dict(zip((row["customer_id"] for row in rows), probabilities.tolist(), strict=True))


@pytest.mark.slow
def test_events_are_taken_once_and_change_the_scores_of_their_customers_alone(
    spark: SparkSession, churn: Churn, warehouse: Warehouse, tmp_path: Path
) -> None:
    customers = at_risk(spark, warehouse, 9)
    first, second, _ = days_of(customers)
    a, b, _, d, *_ = customers
    folder = f"--set=stream.path={tmp_path / 'events'}"

    put(tmp_path / "events", "1.json", first)
    done = step(churn, "score-stream", warehouse, folder)
    assert (done["events"], done["rows_written"], done["rows_quarantined"]) == (8, 4, 4)
    assert scores(spark, warehouse).keys() == {(a, TOMORROW), (b, TOMORROW), ("new", TOMORROW)}
    assert sorted(reasons_of(spark, warehouse).values()) == [["check"], ["json"], ["table"], ["unique"]]

    before = scores(spark, warehouse)
    assert step(churn, "score-stream", warehouse, folder)["batches"] == 0
    put(tmp_path / "events", "2.json", second)
    done = step(churn, "score-stream", warehouse, folder)
    # The use of a and the payment of b were there before; a late event is seen from now on, as of the newest day.
    assert (done["rows_written"], done["rows_quarantined"]) == (3, 2)
    after = scores(spark, warehouse)
    assert after.keys() - before.keys() == {(d, TOMORROW), (customers[4], TOMORROW)}
    assert {key for key in before if after[key] != before[key]} == {("new", TOMORROW)}

    refused = churn("ingest", "--warehouse", warehouse.root, *SMALL)
    assert (refused.exit_code, "[WAREHOUSE_IS_STREAMED]" in refused.stderr) == (3, True)
    assert step(churn, "ingest", warehouse, *JOBS.arguments)["kept_from"] == "score-stream"


@pytest.mark.slow
def test_what_a_stream_puts_aside_is_judged_like_what_ingestions_do(
    spark: SparkSession, churn: Churn, warehouse: Warehouse, tmp_path: Path
) -> None:
    rules = warehouse.table(QUALITY)
    fails = F.when(F.col("rule") == ANY_RULE, F.col("checked_count")).otherwise(F.col("failed_count"))
    overwrite(read(spark, rules).withColumn("failed_count", fails), rules, schema_may_change=True)
    config = VERTICAL.config.load(*VERTICAL.layers(None), overrides=[f"warehouse={warehouse.root}"])
    fine = [used(customer, 0) for customer in at_risk(spark, warehouse, 9)]
    assert stand(spark, config, "before").found.condition.data_broken

    points = []
    for name, day, events in (("1.json", 1, fine), ("2.json", 2, ["no json", used("else", 0)] * 5)):
        put(tmp_path / "events", name, events)
        with clock.frozen(datetime(2027, 1, day, tzinfo=UTC)):
            step(churn, "score-stream", warehouse, f"--set=stream.path={tmp_path / 'events'}")
        standing = stand(spark, config, name)
        points.append((standing.rejected[-1], standing.found.condition.data_broken))

    assert points == [(Rejected(date(2027, 1, 1), 9, 0), False), (Rejected(date(2027, 1, 2), 10, 10), True)]
    assert ("data", "ingestion") in {(alert.kind, alert.subject) for alert in standing.found.alerts}


@pytest.mark.slow
def test_kafka_a_folder_and_a_batch_give_the_same_scores(
    spark: SparkSession, churn: Churn, warehouse: Warehouse, kafka: Broker, tmp_path: Path
) -> None:
    customers = at_risk(spark, warehouse, 9)
    days = days_of(customers)
    of_topic = Warehouse(str(shutil.copytree(warehouse.root, tmp_path / "of_topic")))
    where = ("--set=stream.source=kafka", "--set=stream.topic=churn", f"--set=stream.bootstrap_servers={kafka.address}")
    kafka.create("churn")
    for number, day in enumerate(days):
        put(tmp_path / "events", f"{number}.json", day)
        step(churn, "score-stream", warehouse, f"--set=stream.path={tmp_path / 'events'}")
        # In one partition the order of events is kept; what has no value, or is no text, is put aside.
        more = [None, b'{"table": "usage\xff"}'] if number == 2 else []
        kafka.send("churn", [*(line.encode() for line in lines(day)), *more], key=b"one")
        step(churn, "score-stream", of_topic, *where)

    differing = {name for name, found in contents(spark, of_topic).items() if contents(spark, warehouse)[name] != found}
    assert differing == {"quarantine_churn_events"}
    strays = read(spark, of_topic.table("quarantine_churn_events")).where("_source_file LIKE 'kafka:churn/%'").collect()
    assert sorted(row["_failures"][0]["rule"] for row in strays) == ["encoding", "json", "json", "table"]

    step(churn, "features", warehouse, *SMALL)
    step(churn, "score-batch", warehouse)
    in_batch = {
        (row["customer_id"], row["snapshot_date"]): row["probability"]
        for row in read(spark, warehouse.table("gold_churn_scores")).collect()
    }
    newest = END + timedelta(days=2)
    streamed = {key: value for key, value in scores(spark, warehouse).items() if key[1] == newest}
    assert streamed.keys() == {(customer, newest) for customer in customers[5:]}
    assert {key: in_batch[key] for key in streamed} == pytest.approx(streamed, abs=1e-12)
    online = answers(spark, warehouse, newest)
    assert {key: online[key[0]] for key in streamed} == pytest.approx(streamed, abs=1e-9)
    assert max(abs(online[customer] - in_batch[customer, day]) for customer, day in in_batch) < 1e-9


@pytest.mark.slow
def test_a_stream_killed_at_five_points_leaves_the_tables_of_one_that_was_not(
    spark: SparkSession, churn: Churn, warehouse: Warehouse, tmp_path: Path
) -> None:
    for number, day in enumerate(days_of(at_risk(spark, warehouse, 9))):
        put(tmp_path / "events", f"{number}.json", day)
    put(tmp_path / "events", "3.json", ["no json", used("else", 1)])
    options = ("--set=stream.files_per_batch=1", "--set=scoring.reasons=1", f"--set=stream.path={tmp_path / 'events'}")
    killed = Warehouse(str(shutil.copytree(warehouse.root, tmp_path / "killed")))
    step(churn, "score-stream", warehouse, *options)

    command = [sys.executable, "-m", "churn", "score-stream", "--warehouse", killed.root, *options]
    codes = []
    for seed in range(5):
        files = made(killed) + random.Random(seed).randint(1, 12)
        with (tmp_path / "log").open("a") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        while process.poll() is None and made(killed) < files:
            time.sleep(0.02)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # Python and the JVM it started
        codes.append(process.wait())
    last = subprocess.run(command, capture_output=True, text=True, check=False)

    assert codes == [-signal.SIGKILL] * 5, (tmp_path / "log").read_text()
    assert last.returncode == 0, last.stderr
    assert contents(spark, killed) == contents(spark, warehouse)
    assert counted(spark, killed) == counted(spark, warehouse) == [(8, 4), (5, 2), (8, 2), (2, 2)]
    assert read(spark, killed.table(SCORES)).groupBy("batch_id").count().count() == 3


def counted(spark: SparkSession, warehouse: Warehouse) -> list[tuple[int, int]]:
    """Return how many events each batch held, and how many of them it put aside."""
    rows = read(spark, warehouse.table(STREAM_DECISIONS)).orderBy("batch_id").collect()
    decisions = [json.loads(row["decision"]) for row in rows]
    return [(each[CHECKED], each[REJECTED]) for each in decisions]


def made(warehouse: Warehouse) -> int:
    """Return how many files of tables and of their logs there are."""
    return sum(1 for path in Path(warehouse.root).rglob("*") if path.suffix in (".parquet", ".json"))


@pytest.mark.slow
def test_a_stream_that_waits_ends_when_told_and_finishes_its_batch(
    spark: SparkSession, warehouse: Warehouse, tmp_path: Path
) -> None:
    put(tmp_path / "events", "1.json", days_of(at_risk(spark, warehouse, 9))[0])
    options = ("--set=stream.trigger=continuous", "--set=stream.interval_seconds=1", "--set=scoring.reasons=0")
    command = [sys.executable, "-m", "churn", "score-stream", "--json", "--warehouse", warehouse.root, *options]
    process = subprocess.Popen(
        [*command, f"--set=stream.path={tmp_path / 'events'}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not exists(spark, warehouse.table("ops_churn_stream")):
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)  # between the decision and the scores
    answer, _ = process.communicate()

    assert process.returncode == 0
    assert json.loads(answer)["steps"][0]["customers_scored"] == 3
    assert len(scores(spark, warehouse)) == 3


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[tracking.MlflowClient]:
    yield tracking.connect(ChurnConfig(warehouse=str(tmp_path)), MODEL)
    tracking.mlflow.set_tracking_uri(None)
    tracking.mlflow.set_registry_uri(None)


def test_a_model_that_was_trained_anew_under_the_same_number_scores_from_the_next_batch_on(
    spark: SparkSession, registry: tracking.MlflowClient, tmp_path: Path
) -> None:
    config = ChurnConfig(warehouse=str(tmp_path))

    def trained(probability: float) -> str:
        documents = {
            "config": redacted(config),
            "training": {"inputs": {"numeric": [], "categorical": []}, "typical": {}},
        }
        model = PipelineModel([adding([f"{probability}D AS probability"])])
        with tracking.training_run(config, f"always-{probability}", {}) as run:
            assert models.register(registry, run, MODEL, model, documents=documents).version == 1
        return str(run.info.run_id)

    def probability(run_id: str) -> float:
        scorer, _ = taker._model(1, run_id)
        return float(scorer.model.transform(spark.range(1)).first()["probability"])

    taker = _Taker(spark, config, registry, config)
    first = trained(0.25)
    assert probability(first) == 0.25
    registry.delete_registered_model(MODEL)
    assert probability(trained(0.5)) == 0.5
    with pytest.raises(ModelError, match="MODEL_MISSING"):  # what a batch that comes again was decided with
        taker._model(1, first)


def test_a_stream_that_is_not_described_or_has_nobody_to_score_is_refused(
    churn: Churn, small_run: dict[str, Any], telco_run: dict[str, Any]
) -> None:
    nothing = churn("score-stream", "--warehouse", small_run["warehouse"])
    assert (nothing.exit_code, "[STREAM_INVALID]" in nothing.stderr) == (2, True)
    assert "Set stream.path." in nothing.stderr
    customers = churn("score-stream", "--warehouse", telco_run["warehouse"], "--set=stream.path=x")
    assert (customers.exit_code, "which has no events" in customers.stderr) == (2, True)
