"""Who the champion is: one decision at a time, first written into the ledger, then carried out.

The gates themselves are the vertical's call, since it knows the rows; whatever goes wrong while it judges is a refusal.
"""

from collections.abc import Callable
from typing import Any

from pyspark.sql import SparkSession

from shared.core.errors import DataError, ModelError
from shared.core.run import StepResult
from shared.delta.tables import Warehouse
from shared.registry import ledger, models
from shared.registry.gates import Verdict
from shared.registry.ledger import Decision
from shared.registry.tracking import MlflowClient
from shared.registry.versions import CHALLENGER, CHAMPION, PREVIOUS, Registered, find, find_any

Judge = Callable[[Registered, Registered | None], Verdict]


def promote(
    spark: SparkSession, warehouse: Warehouse, client: MlflowClient, model: str, run_id: str, judge: Judge
) -> Registered:
    """Make the challenger the champion when it passes every gate, and record the decision either way.

    A challenger that is the champion already is left as it is, and nothing is recorded.

    Args:
        spark: session.
        warehouse: where the ledger is.
        client: from `shared.registry.tracking.connect`.
        model: registered name.
        run_id: of the verb.
        judge: returns the verdict on the challenger beside the champion, if there is one.

    Raises:
        ModelError: GATE_REFUSED, the champion stays; MODEL_MISSING, MODEL_TAMPERED, STAGE_NOT_ALLOWED.
    """
    ledger.settle(spark, warehouse, client, model)
    challenger, champion = find(client, model, CHALLENGER), find_any(client, model, CHAMPION)
    if champion and champion.version == challenger.version:
        return champion
    try:
        verdict = judge(challenger, champion)
        # A champion has to be loaded: better to know now than when it is to score.
        models.load(challenger)
    except (ModelError, DataError) as error:
        reason = f"The challenger could not be judged: {error}"
        _record(spark, warehouse, client, run_id, ledger.REFUSED, challenger, champion, Verdict(()), reason)
        if isinstance(error, ModelError):
            raise
        raise _refused(challenger, str(error)) from error
    if not verdict.passed:
        _record(spark, warehouse, client, run_id, ledger.REFUSED, challenger, champion, verdict, verdict.reason)
        raise _refused(challenger, verdict.reason)
    _record(spark, warehouse, client, run_id, ledger.PROMOTED, challenger, champion, verdict, verdict.reason)
    ledger.settle(spark, warehouse, client, model)
    return find(client, model, CHAMPION)


def or_keep(client: MlflowClient, model: str, promote: Callable[[], StepResult]) -> StepResult:
    """Return what ``promote`` does, or the champion that stays when its gates refuse; without one the refusal is raised."""
    try:
        return promote()
    except ModelError as error:
        champion = find_any(client, model, CHAMPION)
        if error.code != "GATE_REFUSED" or champion is None:
            raise
        return StepResult({"kept_version": champion.version, "refused": error.found}, model=champion.as_dict())


def rollback(spark: SparkSession, warehouse: Warehouse, client: MlflowClient, model: str, run_id: str) -> Registered:
    """Make the previous champion the champion again; the two change places, so a second rollback undoes the first.

    Raises:
        ModelError: PREVIOUS_MISSING when no champion was ever replaced; MODEL_TAMPERED, STAGE_NOT_ALLOWED when the
            previous model may not be used.
    """
    ledger.settle(spark, warehouse, client, model)
    champion, previous = (find_any(client, model, alias) for alias in (CHAMPION, PREVIOUS))
    if champion is None or previous is None:
        raise ModelError(
            "PREVIOUS_MISSING",
            f"No champion of {model} was ever replaced by another.",
            "A model with the alias previous.",
            "Train and promote another model; the champion stays.",
        )
    models.load(previous)
    reason = f"Version {champion.version} was taken back."
    _record(spark, warehouse, client, run_id, ledger.ROLLED_BACK, previous, champion, None, reason)
    ledger.settle(spark, warehouse, client, model)
    return find(client, model, CHAMPION)


def _record(
    spark: SparkSession,
    warehouse: Warehouse,
    client: MlflowClient,
    run_id: str,
    action: str,
    model: Registered,
    champion: Registered | None,
    verdict: Verdict | None,
    reason: str,
) -> None:
    moves = action != ledger.REFUSED
    previous = champion if moves else find_any(client, model.name, PREVIOUS)
    after = model if moves else champion
    facts: dict[str, Any] = verdict.as_dict() if verdict else {}
    decision = Decision(
        action=action,
        model=model.name,
        version=model.version,
        champion_before=champion.version if champion else None,
        champion_after=after.version if after else None,
        previous_after=previous.version if previous else None,
        champion_run_id=after.run.info.run_id if after else None,
        table_version=verdict.table_version if verdict else None,
        verdict=facts,
        reason=reason,
    )
    ledger.record(spark, warehouse, client, run_id, decision)


def _refused(challenger: Registered, reason: str) -> ModelError:
    return ModelError(
        "GATE_REFUSED",
        f"Version {challenger.version} of {challenger.name} is not promoted: {reason}.",
        "All gates have to pass.",
        "Look at its report, or at the settings gates.*; the champion stays.",
    )
