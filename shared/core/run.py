"""What every vertical's run shares: the settings common to all, and what a step gives back.

A step is ``step(spark, config, run_id) -> StepResult``; it reads tables and writes tables, and keeps nothing in memory.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationInfo, field_validator

from shared.core.config import Settings
from shared.core.references import refused, without_logins
from shared.core.session_config import SessionConfig

if TYPE_CHECKING:  # settings are read where Spark is not installed
    from pyspark.sql import SparkSession


class RunConfig(Settings):
    """Settings every vertical has.

    Args:
        source: folder, file or URI of the raw data; None is the vertical's own generator.
        warehouse: folder or URI of the tables, or ``catalog:<catalog>.<schema>``.
        seed: seed of everything random.
        tracking_uri: MLflow tracking server or database, or a reference to its address where that holds a login; None is an
            SQLite file in the warehouse.
        session: how Spark is started where none runs.
    """

    source: str | None = None
    warehouse: str = "warehouse"
    seed: int = 7
    tracking_uri: str | None = None
    session: SessionConfig = SessionConfig()

    @field_validator("source", "warehouse", "tracking_uri", mode="before")
    @classmethod
    def _has_no_login(cls, address: object, field: ValidationInfo) -> object:
        if isinstance(address, str) and address != without_logins(address):
            raise refused(f"A login in {field.field_name}")
        return address


KEPT_FROM = "kept_from"
"""Fact of a step that was not done again: the run whose result it is."""


@dataclass(frozen=True)
class StepResult:
    """What one step did, in the terms of the JSON that `run --json` prints.

    Args:
        facts: small figures such as ``rows_read``; become the step's row.
        tables: per table its ``path``, ``version`` and ``rows``.
        metrics: per kind (``test``, ``baseline``, ``ceiling``) the metrics of the field.
        model: ``name``, ``version`` and ``alias`` of the registered model.
        report: path of the HTML report.
        rows: what a verb lists, as one table; a mapping among the values is shown with --json alone.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    report: str = ""
    rows: Sequence[Mapping[str, Any]] = ()


Step = Callable[["SparkSession", Any, str], StepResult]
Kept = Callable[["SparkSession", Any], StepResult | None]
