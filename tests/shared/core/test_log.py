import io
import json
from datetime import UTC, datetime

from shared.core import clock, log


def test_a_line_in_a_pipe_is_json_with_the_run_id_and_the_facts() -> None:
    stream = io.StringIO()
    log.configure("run-1", stream)

    with clock.frozen(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)):
        log.get_logger("ingest").info("rows read", extra={"rows": 3})

    line = json.loads(stream.getvalue())
    assert line["ts"] == "2026-01-02T03:04:05.000+00:00"
    assert (line["run_id"], line["message"], line["rows"]) == ("run-1", "rows read", 3)


def test_an_exception_is_kept_with_its_trace() -> None:
    stream = io.StringIO()
    log.configure("run-1", stream)

    try:
        raise ValueError("broken")
    except ValueError:
        log.get_logger("x").exception("failed")

    assert "ValueError: broken" in json.loads(stream.getvalue())["exception"]


def test_a_line_on_a_terminal_is_short_and_has_the_run_id_too() -> None:
    stream = _Terminal()
    log.configure("run-1", stream)

    log.get_logger("ingest").warning("slow", extra={"seconds": 9})

    assert stream.getvalue() == "warning: slow seconds=9 (run run-1)\n"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True
