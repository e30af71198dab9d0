"""Decide from what monitoring found whether a new model is needed; if so train it, and let the same gates decide.

Broken data are not trained on; a population that changed while the model stays right is no reason to train; a model whose
matured labels show that it got worse is.
"""

from collections.abc import Sequence
from typing import Final

from pyspark.sql import SparkSession

from churn.config import ChurnConfig, as_trained
from churn.evaluate import evaluate
from churn.monitor import Standing, send, stand
from churn.promote import promote_or_keep
from churn.report import report
from churn.train import MODEL, train
from shared.core.errors import AcceleratorError, DataError
from shared.core.run import Step, StepResult
from shared.monitoring.alerts import Condition
from shared.registry import documents, tracking
from shared.registry.versions import CHAMPION, find_any

_TRAINING: Final[Sequence[Step]] = (train, evaluate, report, promote_or_keep)


def retrain(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Train a challenger when the champion got worse or there is none, promote it if it passes the gates; say why.

    Ingestion and features are as the steps before left them. The settings are the champion's.

    Raises:
        ConfigError: as of `churn.monitor.stand`.
        DataError: RETRAIN_DATA_BROKEN; nothing is trained on data that monitoring takes for broken, and the alerts that
            were not sent yet are.
    """
    champion = find_any(tracking.connect(config, MODEL), MODEL, CHAMPION)
    if champion is None:
        return _trained(spark, config, run_id, "there is no champion")
    standing = stand(spark, config, run_id)
    found = standing.found.condition
    if found.data_broken:
        raise _broken(standing, _undelivered(spark, config, standing, run_id))
    if not found.performance_lost:
        return StepResult({"decision": "keep", "because": _kept_because(found)}, model=champion.as_dict())
    then = as_trained(documents.logged(champion, "config"), config)
    return _trained(spark, then, run_id, _why(found, "performance"))


def _undelivered(spark: SparkSession, config: ChurnConfig, standing: Standing, run_id: str) -> str:
    """Send the alerts and return in words what kept them back, if anything did."""
    try:
        send(spark, config, standing, run_id)
    except AcceleratorError as problem:
        return f" The alert was not delivered: {problem}"
    return ""


def _broken(standing: Standing, undelivered: str) -> DataError:
    found = standing.found
    broken = {each.subject for each in found.violations if (each.window, each.kind) == (found.newest, "data")}
    # What was put aside is of no column.
    may_be_right = broken & {each.name for each in standing.watched.bins}
    hint = " What is right as it is: --set monitoring.may_change=[COLUMN]." if may_be_right else ""
    return DataError(
        "RETRAIN_DATA_BROKEN",
        f"Window {found.condition.window}: {_why(found.condition, 'data')}.{undelivered}",
        "Data like those the champion was trained on.",
        f"Mend the source, then ingest again or let the stream go on; the champion stays.{hint}",
    )


def _trained(spark: SparkSession, config: ChurnConfig, run_id: str, because: str) -> StepResult:
    done = [step(spark, config, run_id) for step in _TRAINING]
    decided = done[-1]
    promoted = decided.facts.get("promoted_version")
    outcome = {"decision": "promoted"} if promoted else {"decision": "kept", "refused": decided.facts["refused"]}
    return StepResult({**outcome, "because": because}, metrics=done[1].metrics, model=decided.model)


def _kept_because(found: Condition) -> str:
    drifted = [_why(found, kind) for kind in ("inputs", "predictions") if found.reasons.get(kind)]
    if not drifted:
        return "nothing is out of bounds"
    return f"the population changed, and no matured label shows a loss ({'; '.join(drifted)})"


def _why(found: Condition, kind: str) -> str:
    return "; ".join(found.reasons.get(kind, ()))
