"""Decide from what monitoring found whether a new model is needed; if so train it, and let the same gates decide.

Broken data are not trained on; a population that changed while the model stays right is no reason to train; a model whose
matured labels show that it got worse is.
"""

from collections.abc import Sequence
from typing import Final

from pyspark.sql import SparkSession

from churn.config import ChurnConfig, as_trained
from churn.evaluate import evaluate
from churn.monitor import condition
from churn.promote import promote_or_keep
from churn.train import MODEL, train
from shared.core.errors import DataError
from shared.core.run import Step, StepResult
from shared.monitoring.alerts import Condition
from shared.registry import tracking
from shared.registry.versions import CHAMPION, find_any

_TRAINING: Final[Sequence[Step]] = (train, evaluate, promote_or_keep)


def retrain(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Train a challenger when the champion got worse or there is none, promote it if it passes the gates; say why.

    Ingestion and features are as the steps before left them. The settings are the champion's.

    Raises:
        DataError: RETRAIN_DATA_BROKEN; nothing is trained on data that monitoring takes for broken.
    """
    champion = find_any(tracking.connect(config, MODEL), MODEL, CHAMPION)
    if champion is None:
        return _trained(spark, config, run_id, "there is no champion")
    found = condition(spark, config, run_id)
    if found.data_broken:
        raise DataError(
            "RETRAIN_DATA_BROKEN",
            f"Window {found.window}: {_why(found, 'data')}.",
            "Data like those the champion was trained on.",
            "Mend the source and ingest again; the champion stays.",
        )
    if not found.performance_lost:
        return StepResult({"decision": "keep", "because": _kept_because(found)}, model=champion.as_dict())
    then = as_trained(tracking.read_document(champion.run, "config"), config)
    return _trained(spark, then, run_id, _why(found, "performance"))


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
