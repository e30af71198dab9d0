"""Train a recorded run again and compare: the same rows and settings must give the same metrics."""

import math
from collections.abc import Mapping

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from churn.algorithms.candidates import PROBABILITY
from churn.config import ChurnConfig
from churn.features import FEATURES, SPLIT
from churn.schema import LABEL
from churn.train import MODEL, Trained, fit, rows_to_learn
from shared.core.errors import ModelError
from shared.core.run import StepResult
from shared.delta import lineage
from shared.delta.read import read
from shared.delta.tables import Warehouse
from shared.evaluation.binary import evaluate
from shared.registry import documents, tracking
from shared.registry.versions import made_by


def reproduce(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Train again from the table versions and settings of run RUN_ID; the metrics must come out the same.

    Compared are the metrics on validation rows and, where the model was evaluated, those on test rows.

    Raises:
        DataError: the version of the table holds other rows than then, or can no longer be read.
        ModelError: RUN_UNKNOWN; RUN_UNFINISHED, there is nothing to compare; NOT_REPRODUCED, a metric differs by more than
            one part in 1e9.
    """
    client = tracking.connect(config, MODEL)
    run = tracking.find_run(client, MODEL, run_id)
    recorded = tracking.tables_of(run).get(FEATURES)
    before = _logged(run, "validation")
    if run.info.status != "FINISHED" or not before or recorded is None or not recorded.digest:
        raise ModelError(
            "RUN_UNFINISHED",
            f"Run {run_id} is {run.info.status}, with {len(before)} metrics on validation rows.",
            "A training run that ended well and recorded its metrics and the digest of its table.",
            "Train again.",
        )
    model = made_by(client, MODEL, run)
    then = ChurnConfig.of_run(documents.logged(model, "config"))
    then = then.model_copy(update={"warehouse": config.warehouse})  # it may have moved
    lineage.check_digest(spark, Warehouse(then.warehouse).table(FEATURES), recorded.version, recorded.digest)
    again = fit(rows_to_learn(spark, then, recorded.version), then)
    _compare(run_id, "validation", before, again.validation[again.chosen].as_dict())
    metrics = {"validation": before}
    if tested := _logged(run, "test"):
        # Of a version that may be later than what it learned from.
        evaluation = documents.added(model, "evaluation")
        _compare(run_id, "test", tested, _on_test_rows(spark, then, again, evaluation["features_version"]))
        metrics["test"] = tested
    return StepResult(
        {"reproduced": run_id, "metrics_equal": sum(len(found) for found in metrics.values())}, metrics=metrics
    )


def _logged(run: tracking.Run, kind: str) -> dict[str, float]:
    """Return the metrics of a part of the rows, by their plain names."""
    prefix, logged = f"{kind}_", run.data.metrics
    return {name.removeprefix(prefix): value for name, value in logged.items() if name.startswith(prefix)}


def _on_test_rows(spark: SparkSession, config: ChurnConfig, trained: Trained, version: int) -> dict[str, float]:
    features = read(spark, Warehouse(config.warehouse).table(FEATURES), version)
    scored = trained.model.transform(features.where(F.col(SPLIT) == "test"))
    return evaluate(scored, label=LABEL, probability=PROBABILITY).as_dict()


def _compare(run_id: str, kind: str, before: Mapping[str, float], now: Mapping[str, float]) -> None:
    pairs = {f"{kind}_{name}": (value, now.get(name)) for name, value in before.items()}
    differing = {name: pair for name, pair in pairs.items() if not _is_same(*pair)}
    if differing:
        raise ModelError(
            "NOT_REPRODUCED", f"Metrics of run {run_id} differ: {differing}.", "The same.", "Compare pins."
        )


def _is_same(before: float, now: float | None) -> bool:
    # Sums of partitions come in any order, so the last digits may differ.
    return now is not None and math.isclose(before, now, rel_tol=1e-9, abs_tol=1e-12)
