"""The ledger of promotions: an append-only Delta table with one row for every decision about the champion.

A row is the decision; moving the aliases follows from it. `settle` finishes what a crash between the two left undone:
each row that moves aliases names the one before it, and the registry's tag names the last that was carried out.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from shared.core import clock
from shared.core.columns import Column, Table
from shared.delta.read import read
from shared.delta.tables import TableRef, Warehouse, create, exists
from shared.delta.write import append_once
from shared.registry.tracking import MlflowClient, reached
from shared.registry.versions import CHAMPION, PREVIOUS, point, there

PROMOTED: Final = "promoted"
REFUSED: Final = "refused"
ROLLED_BACK: Final = "rolled_back"
_SETTLED_TAG: Final = "accelerators.ledger_event"


@dataclass(frozen=True)
class Decision:
    """What was decided about a version of a model.

    Args:
        action: `PROMOTED`, `REFUSED` or `ROLLED_BACK`.
        model: registered name.
        version: the version in question; for a rollback the one that becomes champion again.
        champion_before: None before the first promotion.
        champion_after: None when the first model was refused.
        previous_after: where ``previous`` points afterwards.
        champion_run_id: MLflow run of ``champion_after``, which tells versions of one number in two registries apart.
        table_version: of the table that the verdict was reached on.
        verdict: of `shared.registry.gates`; empty for a rollback.
        reason: one sentence.
    """

    action: str
    model: str
    version: int
    champion_before: int | None
    champion_after: int | None
    previous_after: int | None
    champion_run_id: str | None
    table_version: int | None
    verdict: Mapping[str, Any]
    reason: str


def declared(vertical: str) -> Table:
    """Return the declaration of ``ops_<vertical>_promotions``."""
    return Table(
        f"ops_{vertical}_promotions",
        (
            Column("event_id", "string", "digest of the decision and of the event it follows", nullable=False),
            Column("after_event", "string", "the event before that moved aliases; empty for the first", nullable=False),
            Column("decided_ts", "timestamp", "when", nullable=False),
            Column("run_id", "string", "run of the verb that decided", nullable=False),
            Column("decided_by", "string", "user name in the environment, where there is one"),
            Column(
                "action", "string", "what", nullable=False, check="action IN ('promoted', 'refused', 'rolled_back')"
            ),
            Column("model", "string", "registered name", nullable=False),
            Column("version", "int", "the version in question", nullable=False),
            Column("champion_before", "int", "null before the first promotion"),
            Column("champion_after", "int", "null when the first model was refused"),
            Column("previous_after", "int", "where the alias previous points afterwards"),
            Column("champion_run_id", "string", "MLflow run of the champion afterwards"),
            Column("table_version", "bigint", "version of the table the verdict was reached on"),
            Column("verdict", "string", "the gates with their figures, as JSON", nullable=False),
            Column("reason", "string", "in words", nullable=False),
        ),
        append_only=True,
        description="Every promotion, refusal and rollback of a model.",
    )


def record(spark: SparkSession, warehouse: Warehouse, after: str, run_id: str, decision: Decision) -> str:
    """Append the row of a decision and return its event id; the same decision in the same situation is one row.

    Args:
        spark: session.
        warehouse: where the ledger is.
        after: what `settled` gave before the decision was made: when it gives something else by now, the row moves nothing.
        run_id: of the verb.
        decision: what was decided.

    Raises:
        EnvironmentProblem: the registry or the warehouse cannot be used.
    """
    table = declared(decision.model)
    ref = warehouse.table(table.name)
    facts = {"after_event": after, **asdict(decision), "verdict": json.dumps(decision.verdict, sort_keys=True)}
    event_id = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
    create(spark, ref, table)
    row = {
        **facts,
        "event_id": event_id,
        "decided_ts": clock.utc_now(),
        "run_id": run_id,
        "decided_by": os.environ.get("LOGNAME") or os.environ.get("USER"),
    }
    rows = spark.createDataFrame([tuple(row[name] for name in table.names)], table.ddl())
    append_once(rows, ref, app_id=f"promotions:{event_id}", version=0, digest=event_id)
    return event_id


def settle(spark: SparkSession, warehouse: Warehouse, client: MlflowClient, model: str) -> int:
    """Move the aliases as the ledger says, where that is still to be done, and return how many rows were carried out.

    A row of another registry, whose versions are not the ones it names, is left alone.

    Raises:
        EnvironmentProblem: the registry or the warehouse cannot be used.
    """
    ref = warehouse.table(declared(model).name)
    if not exists(spark, ref):
        return 0
    moves = _moves(spark, ref, model)
    carried_out = 0
    while (row := _next(client, moves, settled(client, model))) is not None:
        _carry_out(client, row)
        carried_out += 1
    return carried_out


def settled(client: MlflowClient, model: str) -> str:
    """Return the event that moved the aliases last; empty for none."""
    found = there(client, lambda: client.get_registered_model(model))
    return str(found.tags.get(_SETTLED_TAG, "")) if found else ""


def was_carried_out(spark: SparkSession, warehouse: Warehouse, client: MlflowClient, model: str, event_id: str) -> bool:
    """Return whether the aliases were moved as the row ``event_id`` says, be it that later rows moved them on.

    Of two rows that name the same one before them the first alone is; the other never is.
    """
    ref = warehouse.table(declared(model).name)
    before = {row["event_id"]: row["after_event"] for row in _moves(spark, ref, model).collect()}
    event = settled(client, model)
    while event in before and event != event_id:
        event = before[event]
    return event == event_id


def entries(spark: SparkSession, warehouse: Warehouse, vertical: str) -> DataFrame:
    """Return the rows of the ledger, oldest first.

    Raises:
        DataError: nothing was ever decided.
    """
    return read(spark, warehouse.table(declared(vertical).name)).orderBy("decided_ts")


def _moves(spark: SparkSession, ref: TableRef, model: str) -> DataFrame:
    return read(spark, ref).where(F.col("model") == model).where(F.col("action").isin(PROMOTED, ROLLED_BACK))


def _next(client: MlflowClient, moves: DataFrame, settled: str) -> Row | None:
    """Return the first row that follows ``settled`` here: the first rows of all registries follow nothing."""
    rows = moves.where(F.col("after_event") == settled).orderBy("decided_ts", "event_id").collect()
    return next((row for row in rows if _is_here(client, row)), None)


def _carry_out(client: MlflowClient, row: Row) -> None:
    # Doing it twice is doing it once, so a crash in between is mended by the next call.
    point(client, row["model"], PREVIOUS, row["previous_after"])
    point(client, row["model"], CHAMPION, row["champion_after"])
    with reached(client.tracking_uri):
        client.set_registered_model_tag(row["model"], _SETTLED_TAG, row["event_id"])


def _is_here(client: MlflowClient, row: Row) -> bool:
    version = there(client, lambda: client.get_model_version(row["model"], str(row["champion_after"])))
    return version is not None and bool(version.run_id == row["champion_run_id"])
