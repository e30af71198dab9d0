"""Where events come from, what a batch decides, and which settings are refused."""

import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from shared.core.errors import ConfigError
from shared.delta.read import read
from shared.delta.tables import TableRef, Warehouse
from shared.deploy import stream
from shared.deploy.settings import StreamConfig
from shared.deploy.stream import checkpoint_of, decided_once, events
from shared.ingest.landing import Batch


def test_a_secret_in_the_settings_is_refused_and_not_repeated() -> None:
    for override in (
        "password=hunter2",
        "options={kafka.ssl.key.password: hunter2}",
        "options={sasl.jaas.config: hunter2}",
    ):
        with pytest.raises(ConfigError, match=r"^\[SECRET_NOT_A_REFERENCE\]") as refused:
            StreamConfig.load(overrides=[override])
        assert "hunter2" not in str(refused.value)


def test_a_login_and_the_protocol_that_asks_for_one_go_together() -> None:
    login = ["user=me", "password=env:KAFKA_PASSWORD"]
    assert StreamConfig.load(overrides=[*login, "security_protocol=SASL_SSL"]).user == "me"
    for overrides in (login, ["security_protocol=SASL_SSL"]):
        with pytest.raises(ConfigError, match="begins with SASL"):
            StreamConfig.load(overrides=overrides)


def test_a_password_reaches_kafka_whatever_characters_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", 'a"b\\c')
    login = ["user=me", "password=env:KAFKA_PASSWORD", "security_protocol=SASL_PLAINTEXT", "sasl_mechanism=PLAIN"]
    client = stream._client(StreamConfig.load(overrides=[*login, "bootstrap_servers=h:1"]))
    assert client["kafka.sasl.jaas.config"] == (
        'org.apache.kafka.common.security.plain.PlainLoginModule required username="me" password="a\\"b\\\\c";'
    )
    assert (client["kafka.sasl.mechanism"], client["kafka.bootstrap.servers"]) == ("PLAIN", "h:1")


def test_a_checkpoint_is_beside_the_tables_unless_it_is_set() -> None:
    assert checkpoint_of(StreamConfig(), Warehouse("/w"), "checkpoint_x") == "/w/checkpoint_x"
    assert (
        checkpoint_of(StreamConfig(checkpoint="s3a://b/c"), Warehouse("catalog:main.x"), "checkpoint_x") == "s3a://b/c"
    )
    with pytest.raises(ConfigError, match=r"Set stream\.checkpoint"):
        checkpoint_of(StreamConfig(), Warehouse("catalog:main.x"), "checkpoint_x")


def test_a_batch_decides_once_and_another_batch_anew(spark: SparkSession, tmp_path: Path) -> None:
    ref = TableRef("ops_test_stream", str(tmp_path / "ops_test_stream"))
    first = decided_once(spark, ref, Batch("a", 0), lambda: {"model_version": 1})
    again = decided_once(spark, ref, Batch("a", 0), lambda: {"model_version": 2})
    other = decided_once(spark, ref, Batch("a", 1, may_be_repeat=False), lambda: {"model_version": 2})
    assert (first, other["model_version"]) == (again, 2)
    assert read(spark, ref).count() == 2


def test_a_stream_needs_a_folder_that_is_there_or_a_broker_and_topic(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Set stream\.path"):
        events(spark, StreamConfig())
    with pytest.raises(ConfigError, match=r"^\[SOURCE_MISSING\]"):
        events(spark, StreamConfig(path=str(tmp_path / "nowhere")))
    with pytest.raises(ConfigError, match=r"Set stream\.bootstrap_servers and stream\.topic"):
        events(spark, StreamConfig(source="kafka"))


@pytest.mark.slow
def test_a_session_without_the_jars_for_kafka_is_told_which_to_add() -> None:
    script = (
        "from shared.core.session import SessionConfig, get_session\n"
        "from shared.deploy import settings, stream\n"
        "spark = get_session(SessionConfig(fast_start=True, driver_memory='1g'))\n"
        "stream.events(spark, settings.StreamConfig(source='kafka', topic='t', bootstrap_servers='h:1'))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "[KAFKA_MISSING]" in done.stderr
    assert "session.jar_sets=[delta, kafka]" in done.stderr
