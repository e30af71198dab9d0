"""Look at the test rows once: metrics with intervals beside a baseline and the ceiling."""

from dataclasses import asdict
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.cli.template import sample as generator
from shared.cli.template.config import TemplateConfig
from shared.cli.template.features import CATEGORICAL, FEATURES
from shared.cli.template.schema import LABEL, ROW_ID
from shared.cli.template.train import MODEL, PROBABILITY
from shared.core.run import StepResult
from shared.delta import lineage
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse
from shared.evaluation import binary, bootstrap, calibration, thresholds
from shared.features import leakage
from shared.features.split import SPLIT
from shared.registry import documents, models, tracking


def evaluate(spark: SparkSession, config: TemplateConfig, run_id: str) -> StepResult:
    """Evaluate the challenger on the test rows and store the result with its training run.

    Raises:
        DataError: the model was fitted on other rows than the table's training rows.
    """
    challenger = models.find(tracking.connect(config, MODEL), MODEL, models.CHALLENGER)
    warehouse = Warehouse(config.warehouse)
    table = warehouse.table(FEATURES)
    version = latest_version(spark, table)
    rows = read(spark, table, version)
    training = rows.where(F.col(SPLIT) == "train")
    fitted_on = documents.logged(challenger, "training")["fitted_on"]
    leakage.check_fitted_on(fitted_on, training, key=ROW_ID)
    test = models.load(challenger).transform(rows.where(F.col(SPLIT) == "test")).cache()
    rate = training.agg(F.avg(LABEL)).collect()[0][0]
    document = {"run_id": run_id, "features_version": version, **_measured(spark, config, test, rate)}
    lineage.record(spark, warehouse, run_id, "evaluate", [(table, version)])
    test.unpersist()
    documents.add(challenger, "evaluation", document)
    shown = {kind: document[kind] for kind in ("test", "baseline", "ceiling") if document[kind]}
    return StepResult({"rows_test": document["test"]["rows"]}, metrics=shown)


def _measured(spark: SparkSession, config: TemplateConfig, test: DataFrame, rate: float) -> dict[str, Any]:
    """Return what the report and the gate need to know."""
    scored: dict[str, Any] = {"label": LABEL, "probability": PROBABILITY}
    metrics = binary.evaluate(test, **scored)
    intervals = bootstrap.intervals(
        test, unit=ROW_ID, replicates=config.bootstrap_replicates, seed=config.seed, **scored
    )
    costs = thresholds.Costs(**config.costs.model_dump())
    return {
        "test": metrics.as_dict()
        | {"ece_by_chance": calibration.ece_by_chance(test, **scored)}
        | {f"{name}_ci": list(bounds) for name, bounds in intervals.items()},
        "baseline": binary.constant(rate, metrics).as_dict(),
        "ceiling": ceiling(spark, config, test),
        "points": [[p.threshold, p.true_positives, p.false_positives] for p in binary.points(test, **scored)],
        "calibration": [[b.predicted, b.observed, b.rows] for b in calibration.curve(test, **scored)],
        "costs": asdict(costs),
        "confusion": thresholds.confusion(test, costs.threshold, **scored).as_dict(),
        "slices": {name: binary.by_slice(test, name, **scored) for name in CATEGORICAL},
    }


def ceiling(spark: SparkSession, config: TemplateConfig, test: DataFrame) -> dict[str, Any]:
    """Return the metrics of the true probabilities on the same rows; empty where the truth is not known."""
    if config.source is not None:
        return {}
    truth = spark.read.parquet(f"{generator.folder(config)}/truth")
    known = test.select(ROW_ID, LABEL).join(truth, ROW_ID)
    return binary.evaluate(known, label=LABEL, probability=generator.TRUTH).as_dict()
