"""Where alerts go: the log always, then a file and a webhook.

Every sink is tried before an error is raised, so that one broken sink keeps nothing from the others. An alert may arrive
twice when a later sink failed, never not at all.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from shared.core import clock
from shared.core.errors import AcceleratorError, EnvironmentProblem
from shared.core.log import get_logger
from shared.core.references import is_reference
from shared.core.secrets import resolve
from shared.monitoring.alerts import Alert
from shared.monitoring.settings import SinkConfig
from shared.monitoring.webhook import post

_LOG = get_logger("monitoring")


def deliver(alerts: Sequence[Alert], facts: Mapping[str, Any], sinks: SinkConfig) -> None:
    """Send every alert to every sink.

    Args:
        alerts: what fired.
        facts: what all messages also say: vertical, model, version, run.
        sinks: where to.

    Raises:
        ConfigError: the webhook's address is not allowed.
        EnvironmentProblem: a sink cannot be reached or written.
    """
    messages = [{"ts": clock.utc_now().isoformat(), **facts, **alert.as_dict()} for alert in alerts]
    targets: list[Callable[[Mapping[str, Any]], None]] = [_to_log]
    if sinks.file:
        targets.append(lambda message: _to_file(message, Path(str(sinks.file))))
    if sinks.webhook:
        targets.append(partial(_to_webhook, sinks.webhook, sinks.webhook_hosts))
    problems: list[AcceleratorError] = []
    for send in targets:
        try:
            for message in messages:
                send(message)
        except AcceleratorError as problem:
            problems.append(problem)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        said = "; ".join(map(str, problems))
        raise EnvironmentProblem("ALERT_NOT_DELIVERED", said, "", "Check monitoring.sinks.")


def _to_log(message: Mapping[str, Any]) -> None:
    text = f"{message['kind']} alert for {message['subject']}"
    _LOG.warning(text, extra={f"alert_{name}": value for name, value in message.items()})


def _to_webhook(address: str, hosts: Sequence[str], message: Mapping[str, Any]) -> None:
    # Resolved here, so that a secret that is missing keeps nothing from the other sinks.
    post(resolve(address).reveal() if is_reference(address) else address, message, hosts)


def _to_file(message: Mapping[str, Any], path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(message), default=str) + "\n")
    except OSError as error:
        raise EnvironmentProblem(
            "ALERT_NOT_DELIVERED", f"Cannot write {path}: {error.strerror}.", "", "Check monitoring.sinks.file."
        ) from error
