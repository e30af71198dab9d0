"""Alerts reach every sink, also when another one is broken."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.core.errors import AcceleratorError, ConfigError, EnvironmentProblem
from shared.monitoring.alerts import Alert
from shared.monitoring.settings import MonitoringConfig, SinkConfig
from shared.monitoring.sinks import deliver

ALERTS = [Alert("2025-05-01", "inputs", "minutes_30", "moved"), Alert("2025-05-01", "data", "region", "gone")]
FACTS = {"vertical": "churn", "model_version": 3}


def test_the_file_gets_one_line_an_alert_after_those_that_are_there(tmp_path: Path) -> None:
    sinks = SinkConfig(file=str(tmp_path / "alerts" / "churn.jsonl"))

    deliver(ALERTS[:1], FACTS, sinks)
    deliver(ALERTS[1:], FACTS, sinks)

    lines = [json.loads(line) for line in Path(sinks.file or "").read_text().splitlines()]
    assert [(line["subject"], line["vertical"], line["model_version"]) for line in lines] == [
        ("minutes_30", "churn", 3),
        ("region", "churn", 3),
    ]


class Kept(logging.Handler):
    """Keeps the sentences that are logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.sentences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.sentences.append(record.getMessage())


@pytest.fixture
def log() -> Iterator[Kept]:
    kept, logger = Kept(), logging.getLogger("accelerators")
    logger.addHandler(kept)
    yield kept
    logger.removeHandler(kept)


def test_the_log_has_every_alert_and_a_broken_webhook_keeps_none_from_the_file(tmp_path: Path, log: Kept) -> None:
    sinks = SinkConfig(file=str(tmp_path / "alerts.jsonl"), webhook="http://127.0.0.1:9/secret-path")

    with pytest.raises(ConfigError, match="WEBHOOK_PRIVATE") as refused:
        deliver(ALERTS, FACTS, sinks)

    assert "secret-path" not in str(refused.value)
    assert log.sentences == ["inputs alert for minutes_30", "data alert for region"]
    assert len((tmp_path / "alerts.jsonl").read_text().splitlines()) == 2


def test_a_secret_that_is_missing_keeps_no_alert_from_log_and_file(tmp_path: Path, log: Kept) -> None:
    sinks = SinkConfig(file=str(tmp_path / "alerts.jsonl"), webhook="env:NO_SUCH_HOOK")

    with pytest.raises(AcceleratorError, match="NO_SUCH_HOOK"):
        deliver(ALERTS, FACTS, sinks)

    assert log.sentences == ["inputs alert for minutes_30", "data alert for region"]
    assert len((tmp_path / "alerts.jsonl").read_text().splitlines()) == 2


def test_all_sinks_that_fail_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sinks = SinkConfig(file=str(tmp_path / "file" / "alerts.jsonl"), webhook="env:NO_SUCH_HOOK")

    with pytest.raises(EnvironmentProblem, match=r"(?s)Cannot write .*NO_SUCH_HOOK"):
        deliver(ALERTS, FACTS, sinks)


@pytest.mark.parametrize("name", ["file", "textfile"])
def test_files_are_of_this_machine(name: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket/alerts is an address"):
        SinkConfig(**{name: "s3://bucket/alerts"})


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(EnvironmentProblem, match="ALERT_NOT_DELIVERED"):
        deliver(ALERTS, FACTS, SinkConfig(file=str(tmp_path / "file" / "alerts.jsonl")))


def test_the_webhook_may_be_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_HOOK", "http://192.168.7.7/token")

    with pytest.raises(ConfigError, match=r"WEBHOOK_PRIVATE.*192\.168\.7\.7"):
        deliver(ALERTS, FACTS, SinkConfig(webhook="env:ALERT_HOOK"))


def test_more_violations_than_windows_are_no_setting() -> None:
    with pytest.raises(ValueError, match=r"monitoring\.violations is 4"):
        MonitoringConfig(violations=4, windows=3)
