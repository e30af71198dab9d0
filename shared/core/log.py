"""Structured logs on stderr: one JSON object a line in a pipe, a short line on a terminal; every one has the run id.

Python's own `logging` does the work; call `configure` once, at the outermost line.
"""

import json
import logging
import sys
from typing import TextIO

from shared.core.clock import utc_now
from shared.core.references import without_logins

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(run_id: str, stream: TextIO | None = None, verbose: bool = False) -> None:
    """Send the logs of the product to ``stream`` (stderr by default), each with ``run_id``; warnings only on a terminal."""
    target = stream or sys.stderr
    handler = logging.StreamHandler(target)
    handler.setFormatter(_Line(run_id) if target.isatty() else _Json(run_id))
    logger = logging.getLogger("accelerators")
    logger.handlers[:] = [handler]
    quiet = logging.WARNING if target.isatty() else logging.INFO  # a person sees progress and results instead
    logger.setLevel(logging.DEBUG if verbose else quiet)
    logger.propagate = False


def get_logger(name: str) -> logging.Logger:
    """Return the logger of a module; give facts as ``extra={"rows": 3}``, not inside the sentence."""
    return logging.getLogger(f"accelerators.{name}")


def _facts(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class _Json(logging.Formatter):
    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": utc_now().isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "run_id": self.run_id,
            "logger": record.name,
            "message": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info:
            line["exception"] = without_logins(self.formatException(record.exc_info))
        return json.dumps(line, default=str)


class _Line(logging.Formatter):
    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id

    def format(self, record: logging.LogRecord) -> str:
        facts = " ".join(f"{key}={value}" for key, value in _facts(record).items())
        text = f"{record.levelname.lower()}: {record.getMessage()} {facts}".rstrip() + f" (run {self.run_id})"
        return f"{text}\n{without_logins(self.formatException(record.exc_info))}" if record.exc_info else text
