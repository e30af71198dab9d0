"""Who the champion is: one decision at a time, first written into the ledger, then carried out.

The gates themselves are the vertical's call, since it knows the rows; whatever goes wrong with model or data while it judges is a refusal.
"""

from collections.abc import Callable
from typing import Any

from pyspark.sql import SparkSession

from shared.core.errors import DataError, ModelError
from shared.core.run import StepResult
from shared.delta.problems import FAILURES
from shared.delta.tables import Warehouse
from shared.registry import ledger, models
from shared.registry.gates import Verdict
from shared.registry.ledger import Decision
from shared.registry.tracking import MlflowClient
from shared.registry.versions import CHALLENGER, CHAMPION, PREVIOUS, Registered, find, find_any

Judge = Callable[[Registered, Registered | None], Verdict]


def promote(
    spark: SparkSession,
    warehouse: Warehouse,
    client: MlflowClient,
    model: str,
    run_id: str,
    judge: Judge,
    *,
    without_champion: bool = False,
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
        without_champion: as in `shared.registry.gates.GateConfig`.

    Raises:
        ModelError: GATE_REFUSED, the champion stays; DECISION_OVERTAKEN, another came first; MODEL_MISSING,
            CHAMPION_MISSING, MODEL_TAMPERED, STAGE_NOT_ALLOWED.
    """
    ledger.settle(spark, warehouse, client, model)
    after = ledger.settled(client, model)
    challenger, champion = find(client, model, CHALLENGER), find_any(client, model, CHAMPION)
    if champion and champion.version == challenger.version:
        return champion
    try:
        if champion is None and after and not without_champion:
            raise _champion_missing(model)
        verdict = judge(challenger, champion)
        # A champion has to be loaded: better to know now than when it is to score.
        models.load(challenger)
    except (ModelError, DataError, *FAILURES) as error:
        found = str(error).strip()
        if isinstance(error, FAILURES):
            found = found.splitlines()[0]  # the rest is Spark's plan
        reason = f"The challenger could not be judged: {found}"
        _record(spark, warehouse, client, after, run_id, ledger.REFUSED, challenger, champion, Verdict(()), reason)
        if isinstance(error, ModelError):
            raise
        raise _refused(challenger, found) from error
    if not verdict.passed:
        _record(spark, warehouse, client, after, run_id, ledger.REFUSED, challenger, champion, verdict, verdict.reason)
        raise _refused(challenger, verdict.reason)
    event = _record(
        spark, warehouse, client, after, run_id, ledger.PROMOTED, challenger, champion, verdict, verdict.reason
    )
    return _settled(spark, warehouse, client, model, event)


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
        ModelError: PREVIOUS_MISSING when no champion was ever replaced; DECISION_OVERTAKEN, another came first;
            MODEL_TAMPERED, STAGE_NOT_ALLOWED when the previous model may not be used.
    """
    ledger.settle(spark, warehouse, client, model)
    after = ledger.settled(client, model)
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
    event = _record(spark, warehouse, client, after, run_id, ledger.ROLLED_BACK, previous, champion, None, reason)
    return _settled(spark, warehouse, client, model, event)


def _settled(spark: SparkSession, warehouse: Warehouse, client: MlflowClient, model: str, event: str) -> Registered:
    """Carry out what the ledger says and return the champion, when it was ``event`` that made it one."""
    ledger.settle(spark, warehouse, client, model)
    champion = find(client, model, CHAMPION)
    if not ledger.was_carried_out(spark, warehouse, client, model, event):
        raise ModelError(
            "DECISION_OVERTAKEN",
            f"Another decision about {model} was made at the same moment and came first: version {champion.version} is the "
            "champion.",
            "One decision at a time.",
            "Look at the ledger; decide again if it is still wanted.",
        )
    return champion


def _record(
    spark: SparkSession,
    warehouse: Warehouse,
    client: MlflowClient,
    after: str,
    run_id: str,
    action: str,
    model: Registered,
    champion: Registered | None,
    verdict: Verdict | None,
    reason: str,
) -> str:
    moves = action != ledger.REFUSED
    previous = champion if moves else find_any(client, model.name, PREVIOUS)
    then = model if moves else champion
    facts: dict[str, Any] = verdict.as_dict() if verdict else {}
    decision = Decision(
        action=action,
        model=model.name,
        version=model.version,
        champion_before=champion.version if champion else None,
        champion_after=then.version if then else None,
        previous_after=previous.version if previous else None,
        champion_run_id=then.run.info.run_id if then else None,
        table_version=verdict.table_version if verdict else None,
        verdict=facts,
        reason=reason,
    )
    return ledger.record(spark, warehouse, after, run_id, decision)


def _champion_missing(model: str) -> ModelError:
    return ModelError(
        "CHAMPION_MISSING",
        f"The ledger made a version of {model} the champion, and none has that alias now.",
        "A champion to compare the challenger with.",
        "Give the alias back in MLflow, or judge without it: --set gates.without_champion=true.",
    )


def _refused(challenger: Registered, reason: str) -> ModelError:
    return ModelError(
        "GATE_REFUSED",
        f"Version {challenger.version} of {challenger.name} is not promoted: {reason}.",
        "All gates have to pass.",
        f"Look at its report (python -m {challenger.name} report), or at the settings gates.*; the champion stays.",
    )
