"""Progress of Spark's stages on a terminal; silent in a pipe and where Spark hides its stages (Connect)."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from pyspark.sql import SparkSession

from shared.core.session import driver_context

_INTERVAL_SECONDS = 0.3


@contextmanager
def showing(spark: SparkSession, step: str, stream: TextIO | None = None) -> Iterator[None]:
    """Show ``step: tasks done / total`` on ``stream`` (stderr by default) while the block runs."""
    target = stream or sys.stderr
    context = driver_context(spark)
    if context is None or not target.isatty():
        yield
        return
    done = threading.Event()
    painter = threading.Thread(target=_paint, args=(context, step, target, done), daemon=True)
    painter.start()
    try:
        yield
    finally:
        done.set()
        painter.join()
        target.write("\r\x1b[K")
        target.flush()


def _paint(context: object, step: str, target: TextIO, done: threading.Event) -> None:
    tracker = context.statusTracker()  # type: ignore[attr-defined]
    while not done.wait(_INTERVAL_SECONDS):
        stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
        finished = sum(stage.numCompletedTasks for stage in stages if stage)
        total = sum(stage.numTasks for stage in stages if stage)
        target.write(f"\r\x1b[K{step}: {finished}/{total} tasks" if total else f"\r\x1b[K{step} …")
        target.flush()
