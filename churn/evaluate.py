"""Look at the test rows once: metrics with intervals, beside a baseline and, where the truth is known, the ceiling."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from pyspark.ml import Transformer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn import sample as generator
from churn.algorithms import reasons
from churn.algorithms.candidates import PROBABILITY, Inputs
from churn.config import ChurnConfig, as_trained
from churn.features import FEATURES, SPLIT
from churn.schema import CUSTOMER_ID, LABEL, SNAPSHOT_DATE
from churn.train import MODEL, ROW_KEY, refuse_overlap
from shared.core.parallel import in_parallel
from shared.core.run import StepResult
from shared.delta import lineage
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse
from shared.evaluation import binary, bootstrap, calibration, thresholds
from shared.features import leakage
from shared.registry import documents, files, models, tracking

SLICED = ("plan", "segment", "contract", "internet_service")
_EXPLAINED_ROWS = 1_000


def evaluate(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Evaluate the challenger on the test rows and store the result with its training run.

    Raises:
        DataError: the model was fitted on other rows than the table's training rows, or these overlap the test rows.
    """
    client = tracking.connect(config, MODEL)
    challenger = models.find(client, MODEL, models.CHALLENGER)
    training = documents.logged(challenger, "training")
    config = as_trained(documents.logged(challenger, "config"), config)
    warehouse = Warehouse(config.warehouse)
    version = latest_version(spark, warehouse.table(FEATURES))
    rows = read(spark, warehouse.table(FEATURES), version)
    train_rows = rows.where(F.col(SPLIT) == "train")
    seen, unseen = rows.where(F.col(SPLIT).isin("train", "validation")), rows.where(F.col(SPLIT) == "test")
    before: list[Callable[[], Any]] = [
        partial(leakage.check_fitted_on, training["fitted_on"], train_rows, key=ROW_KEY),
        partial(refuse_overlap, seen, unseen, config),
        partial(models.load, challenger),
    ]
    model = in_parallel(spark, before)[-1]
    test = model.transform(unseen).cache()
    test.count()  # once, not by each of those who read it below
    scored: dict[str, Any] = {"label": LABEL, "probability": PROBABILITY}
    costs = thresholds.Costs(**config.costs.model_dump())
    inputs = Inputs.of(training["inputs"])
    parts: dict[str, Callable[[], Any]] = {
        "importance": partial(_importance, test, model, inputs, training["typical"]),
        "intervals": partial(_intervals, test, config),
        "metrics": partial(binary.evaluate, test, **scored),
        "rate": lambda: train_rows.agg(F.avg(LABEL)).collect()[0][0],
        "points": partial(binary.points, test, **scored),
        "decided": partial(thresholds.confusion, test, costs.threshold, **scored),
        "bins": partial(calibration.curve, test, **scored),
        "parity": partial(_parity, challenger, model, rows, config),
        "by_chance": partial(calibration.ece_by_chance, test, **scored),
        "ceiling": partial(ceiling, spark, config, test),
        "lineage": partial(
            lineage.record, spark, warehouse, run_id, "evaluate", [(warehouse.table(FEATURES), version)]
        ),
        **{f"slice {name}": partial(binary.by_slice, test, name, **scored) for name in sliced(config, test)},
    }
    found = dict(zip(parts, in_parallel(spark, list(parts.values())), strict=True))
    test.unpersist()
    metrics = found["metrics"]
    document = {"run_id": run_id, "features_version": version, **_document(found, costs)}
    documents.add(challenger, "evaluation", document)
    tracking.write_metrics(challenger.run, "test", metrics.as_dict())
    shown = {kind: document[kind] for kind in ("test", "baseline", "ceiling") if document[kind]}
    return StepResult({"rows_test": metrics.rows, "positives": metrics.positives}, metrics=shown)


def sliced(config: ChurnConfig, rows: DataFrame) -> list[str]:
    """Return the columns whose values are looked at apart, of those that the rows have."""
    return [name for name in (*SLICED, *(config.data.slices if config.data else ())) if name in rows.columns]


def _document(found: Mapping[str, Any], costs: thresholds.Costs) -> dict[str, Any]:
    """Return what the report and the gate need to know, from the results by name."""
    metrics, decided = found["metrics"], found["decided"]
    return {
        "test": metrics.as_dict()
        | {"ece_by_chance": found["by_chance"]}
        | {f"{name}_ci": list(bounds) for name, bounds in found["intervals"].items()},
        "baseline": binary.constant(found["rate"], metrics).as_dict(),
        "ceiling": found["ceiling"],
        "points": [[p.threshold, p.true_positives, p.false_positives] for p in found["points"]],
        "calibration": [[b.predicted, b.observed, b.rows] for b in found["bins"]],
        "costs": asdict(costs),
        "confusion": decided.as_dict(),
        "profit_at_threshold": costs.profit(decided.true_positives, decided.false_positives),
        "slices": {name.removeprefix("slice "): rows for name, rows in found.items() if name.startswith("slice ")},
        "importance": found["importance"],
        **({"parity": found["parity"].as_dict()} if found["parity"] else {}),
    }


def ceiling(spark: SparkSession, config: ChurnConfig, test: DataFrame) -> dict[str, Any]:
    """Return the metrics of the true probabilities on the same rows; empty where the truth is not known."""
    if config.source is not None or (config.label.gap_days, config.label.outcome_days) != (
        generator.GAP_DAYS,
        generator.OUTCOME_DAYS,
    ):
        return {}
    truth = spark.read.parquet(f"{generator.folder(config)}/truth").select(
        CUSTOMER_ID, SNAPSHOT_DATE, generator.CHURN_PROBABILITY
    )
    known = test.select(CUSTOMER_ID, SNAPSHOT_DATE, LABEL).join(truth, [CUSTOMER_ID, SNAPSHOT_DATE])
    if known.count() != test.count():
        return {}
    return binary.evaluate(known, label=LABEL, probability=generator.CHURN_PROBABILITY).as_dict()


def _parity(challenger: models.Registered, model: Transformer, rows: DataFrame, config: ChurnConfig) -> Any:
    """Return how far the exported model is from Spark's, on any rows: it is no measure of quality; None without an export."""
    if not config.serving.export:
        return None
    from shared.deploy.export import parity
    from shared.deploy.online import bundle

    with files.fetched(challenger, bundle.FOLDER) as folder:
        online = bundle.OnlineModel.read(folder)
    of = config.serving
    return parity.compare(model, online, rows, limit=of.parity_rows, tolerance=of.tolerance, order=ROW_KEY)


def _intervals(test: DataFrame, config: ChurnConfig) -> dict[str, tuple[float, float]]:
    return bootstrap.intervals(
        test,
        unit=CUSTOMER_ID,
        label=LABEL,
        probability=PROBABILITY,
        replicates=config.bootstrap_replicates,
        seed=config.seed,
    )


def _importance(test: DataFrame, model: Any, inputs: Inputs, typical: dict[str, Any]) -> list[list[Any]]:
    """Return each feature with its mean absolute contribution over a hash sample of the test rows."""
    sampled = test.drop(PROBABILITY).orderBy(F.xxhash64(CUSTOMER_ID, SNAPSHOT_DATE)).limit(_EXPLAINED_ROWS)
    contributed = reasons.with_contributions(sampled, model, inputs, typical, key=ROW_KEY)
    return [list(pair) for pair in reasons.mean_absolute(contributed, inputs)]
