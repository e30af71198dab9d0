"""Train the candidates, choose one on validation rows, calibrate it, and register it as the challenger.

Test rows are never read here: they are left out by the first line that reads the feature table.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pyspark.ml import PipelineModel, Transformer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn.algorithms import candidates, reasons, tuning
from churn.algorithms.candidates import PROBABILITY, Inputs
from churn.config import DECISIONS, SEARCHED, ChurnConfig, ModelConfig
from churn.config import MODEL as MODEL
from churn.features import BOOKKEEPING, FEATURES, SPLIT
from churn.schema import CUSTOMER_ID, LABEL, OUTCOME_END_DATE, SNAPSHOT_DATE
from shared.core.config import redacted
from shared.core.errors import DataError
from shared.core.parallel import in_parallel
from shared.core.run import StepResult
from shared.delta import lineage, made_from
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse, detail
from shared.deploy.export import publish
from shared.evaluation.binary import BinaryMetrics, evaluate
from shared.evaluation.calibration import SCALINGS
from shared.evaluation.costs import Costs
from shared.features import leakage
from shared.features import selection as selecting
from shared.registry import models, tracking
from shared.tuning import folds as folding
from shared.tuning.folds import Fold
from shared.tuning.search import Search
from shared.tuning.space import Space
from shared.tuning.trials import Trials

ROW_KEY = (CUSTOMER_ID, SNAPSHOT_DATE)


@dataclass(frozen=True)
class Trained:
    """A fitted model and what is needed to use and to explain it.

    Args:
        model: adds `probability`.
        chosen: name of the candidate.
        inputs: the feature columns it reads.
        validation: metrics of every candidate on validation rows, calibrated.
        typical: reference values of the features, for reasons.
        dropped: features left out, with the reason.
        fitted_on: fingerprint of the training rows, which `evaluate` compares with those of the table.
    """

    model: PipelineModel
    chosen: str
    inputs: Inputs
    validation: Mapping[str, BinaryMetrics]
    typical: Mapping[str, Any]
    dropped: Mapping[str, str]
    fitted_on: str


def train(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Search settings where a budget is set; train, choose, calibrate and register a model."""
    version = latest_version(spark, Warehouse(config.warehouse).table(FEATURES))
    return _train(spark, config, run_id, version)


def rows_to_learn(spark: SparkSession, config: ChurnConfig, version: int) -> DataFrame:
    """Return the rows of a version of the feature table that are not test rows."""
    features = read(spark, Warehouse(config.warehouse).table(FEATURES), version)
    return features.where(F.col(SPLIT).isin("train", "validation"))


def fit(rows: DataFrame, config: ChurnConfig) -> Trained:
    """Fit every candidate on rows with split ``train`` and choose by log loss on rows with split ``validation``.

    Raises:
        DataError: a leak, a label with one class, or no usable feature.
    """
    train_rows, validation_rows = (rows.where(F.col(SPLIT) == part).cache() for part in ("train", "validation"))
    spark = rows.sparkSession
    train_rows.count()  # once, not by each of those who read it below
    checks: list[Callable[[], Any]] = [
        partial(_refuse_leaks, train_rows, validation_rows, config),
        partial(_prepared, train_rows, config.model),
    ]
    inputs, dropped, stages = in_parallel(spark, checks)[1]
    prepared = PipelineModel(stages)
    learning = candidates.for_models(prepared.transform(train_rows)).cache()
    learn: list[Callable[[], Any]] = [
        partial(candidates.fit_candidates, learning, config.model, candidates.levels_of(stages), config.seed),
        partial(reasons.typical_values, train_rows, inputs),
        partial(leakage.fingerprint, train_rows, ROW_KEY),
    ]
    fitted, typical, fitted_on = in_parallel(spark, learn)
    held_out = candidates.for_models(prepared.transform(validation_rows)).cache()
    judged = in_parallel(spark, [partial(_calibrated, own, held_out, config.model) for own in fitted.values()])
    calibrated = {name: own for name, (own, _) in zip(fitted, judged, strict=True)}
    metrics = {name: found for name, (_, found) in zip(fitted, judged, strict=True)}
    learning.unpersist()
    held_out.unpersist()
    chosen = min(metrics, key=lambda name: metrics[name].log_loss)
    whole = PipelineModel([*stages, *calibrated[chosen]]).transform(rows)
    workings = [name for name in whole.columns if name not in (*rows.columns, PROBABILITY)]
    trained = Trained(
        model=candidates.finished([*stages, *calibrated[chosen]], workings),
        chosen=chosen,
        inputs=inputs,
        validation=metrics,
        typical=typical,
        dropped=dropped,
        fitted_on=fitted_on,
    )
    for part in (train_rows, validation_rows):
        part.unpersist()
    return trained


def _train(spark: SparkSession, config: ChurnConfig, run_id: str, version: int) -> StepResult:
    if config.serving.export:
        publish.check_packages()
    client = tracking.connect(config, MODEL)
    warehouse = Warehouse(config.warehouse)
    rows = rows_to_learn(spark, config, version)
    with tracking.training_run(config, run_id, {FEATURES: version}) as run:
        config, searches, searched = _tuned(spark, config, rows, client, run, version)
        reads = [(warehouse.table(FEATURES), version)]
        work: list[Callable[[], Any]] = [
            partial(fit, rows, config),
            partial(lineage.record, spark, warehouse, run_id, "train", reads),
        ]
        trained: Trained
        trained, digests = in_parallel(spark, work)
        best = trained.validation[trained.chosen]
        tracking.mlflow.log_params({"chosen": trained.chosen})
        tracking.mlflow.log_metrics({f"validation_{name}": value for name, value in best.as_dict().items()})
        training = _document(trained) | {"is_tuned": bool(searches)}
        tracking.keep_digests(run, digests)
        documents = {
            "config": redacted(config),
            "training": training,
            "tables": {FEATURES: {"version": version, "digest": digests[FEATURES]}},
            **searched,
        }
        inputs = rows.select(*trained.inputs.names)
        derive = _exporter(rows, trained, config) if config.serving.export else None
        registered = models.register(
            client, run, MODEL, trained.model, inputs=inputs, documents=documents, derive=derive
        )
    counts = {row[SPLIT]: row["count"] for row in rows.groupBy(SPLIT).count().collect()}
    return StepResult(
        {
            "chosen": trained.chosen,
            "rows_train": counts["train"],
            "rows_validation": counts["validation"],
            "validation_auc": best.auc,
            "validation_log_loss": best.log_loss,
            **_search_facts(searches, config.model),
        },
        model=registered.as_dict(),
    )


def _exporter(rows: DataFrame, trained: Trained, config: ChurnConfig) -> Callable[[Path], None]:
    return publish.exporter(
        vertical="churn",
        rows=rows,
        features=trained.inputs.names,
        typical=trained.typical,
        output=PROBABILITY,
        threshold=Costs(**config.costs.model_dump()).threshold,
        decisions=DECISIONS,
        words=config.words,
    )


def _tuned(
    spark: SparkSession,
    config: ChurnConfig,
    rows: DataFrame,
    client: tracking.MlflowClient,
    run: tracking.Run,
    version: int,
) -> tuple[ChurnConfig, Mapping[str, Search], dict[str, Any]]:
    """Return the config to train with, recorded as the run's, the search of each candidate, and the document of them.

    Without a budget there are neither searches nor a document.
    """
    if not config.tuning.is_on:
        return config, {}, {}
    table_id = detail(spark, Warehouse(config.warehouse).table(FEATURES))["id"]

    def kept(name: str, space: Space, model: ModelConfig) -> Trials:
        matters = {*SEARCHED[name], "max_levels", "vocabulary", "min_word_rows", "max_correlation", "positive_weight"}
        facts = (
            [name, str(table_id), version, config.split.by, config.tuning.folds, config.seed, config.tuning.method],
            {setting: parameter.model_dump() for setting, parameter in space.parameters.items()},
            model.model_dump(include=matters),
            config.tuning.parallel if config.tuning.method == "optuna" else None,
        )
        return Trials(client, run, made_from.fingerprint(spark, MODEL, *facts), name, tuning.METRIC)

    train_rows = rows.where(F.col(SPLIT) == "train").cache()
    try:
        folds = folds_of(train_rows, config)
        model, searches = tuning.tuned(
            spark,
            folds,
            config.model,
            config.tuning,
            seed=config.seed,
            prepare=lambda fold_rows, own: _prepared(fold_rows, own)[2],
            kept=kept,
        )
    finally:
        train_rows.unpersist()
    tuned = config.model_copy(update={"model": model})
    tracking.mlflow.log_dict(redacted(tuned), "config.json")  # what it is trained with; what it was is in `tuning`
    return tuned, searches, {"tuning": _tuning_document(config, folds, searches)}


def folds_of(train_rows: DataFrame, config: ChurnConfig) -> list[Fold]:
    """Return the folds of training rows that settings are searched on, apart in the way the split is.

    Raises:
        DataError: they overlap in time or in customers, or time allows fewer than two.
    """
    if config.split.by == "time":
        folds = folding.by_time(train_rows, SNAPSHOT_DATE, OUTCOME_END_DATE, config.tuning.folds)
    else:
        folds = folding.by_group(train_rows, CUSTOMER_ID, config.tuning.folds, seed=config.seed)
    in_parallel(train_rows.sparkSession, [partial(refuse_overlap, fold.train, fold.held_out, config) for fold in folds])
    return folds


def _tuning_document(config: ChurnConfig, folds: list[Fold], searches: Mapping[str, Search]) -> dict[str, Any]:
    return {
        "metric": tuning.METRIC,
        "method": config.tuning.method,
        "folds": {"by": config.split.by, "held_out": [fold.name for fold in folds]},
        "as_configured": config.model.model_dump(mode="json"),
        "searches": {name: search.as_dict() for name, search in searches.items()},
    }


def _search_facts(searches: Mapping[str, Search], model: ModelConfig) -> dict[str, Any]:
    if not searches:
        return {}
    settings = dict.fromkeys(name for search in searches.values() for trial in search.trials for name in trial.setting)
    return {
        "trials": sum(len(search.trials) for search in searches.values()),
        "trials_resumed": sum(search.resumed for search in searches.values()),
        "search_minutes": round(sum(search.seconds for search in searches.values()) / 60, 1),
        "search_ended": "; ".join(f"{name}: {search.stopped}" for name, search in searches.items()),
        "tuned": ", ".join(f"{name} {getattr(model, name):.4g}" for name in settings),
    }


def _document(trained: Trained) -> dict[str, Any]:
    """What scoring and the report need to know of a model, next to the model itself."""
    return {
        "chosen": trained.chosen,
        "inputs": asdict(trained.inputs),
        "validation": {name: metrics.as_dict() for name, metrics in trained.validation.items()},
        "typical": dict(trained.typical),
        "dropped": dict(trained.dropped),
        "fitted_on": trained.fitted_on,
    }


def _calibrated(
    stages: list[Transformer], held_out: DataFrame, config: ModelConfig
) -> tuple[list[Transformer], BinaryMetrics]:
    scored = PipelineModel(stages).transform(held_out).select(LABEL, PROBABILITY).cache()
    calibration = SCALINGS[config.calibration](PROBABILITY, LABEL).fit(scored)
    metrics = evaluate(calibration.transform(scored), label=LABEL, probability=PROBABILITY)
    scored.unpersist()
    return [*stages, calibration], metrics


def refuse_overlap(earlier: DataFrame, later: DataFrame, config: ChurnConfig) -> None:
    """Refuse rows to learn from that overlap the rows to judge by: in time, or in customers.

    Raises:
        DataError: they do.
    """
    if config.split.by == "time":
        leakage.check_time(earlier, later, known=OUTCOME_END_DATE, time=SNAPSHOT_DATE)
    else:
        leakage.check_groups(earlier, later, group=CUSTOMER_ID)


def _refuse_leaks(train_rows: DataFrame, validation_rows: DataFrame, config: ChurnConfig) -> None:
    refuse_overlap(train_rows, validation_rows, config)
    inputs = candidates.inputs_of(train_rows, BOOKKEEPING)
    leakage.check_single_features(
        train_rows.withColumns({name: F.size(name) for name in inputs.text}),  # of texts, how much was written
        numeric=[*inputs.numeric, *inputs.text],
        categorical=inputs.categorical,
        label=LABEL,
        max_auc=config.max_single_auc,
    )


def _prepared(train_rows: DataFrame, config: ModelConfig) -> tuple[Inputs, Mapping[str, str], list[Transformer]]:
    """Return the features that can help, why others cannot, and the fitted preparation."""
    inputs, dropped = _usable(train_rows, config)
    return inputs, dropped, candidates.fit_preparation(train_rows, inputs, config)


def _usable(train_rows: DataFrame, config: ModelConfig) -> tuple[Inputs, Mapping[str, str]]:
    """Leave out features that cannot help, and say why."""
    inputs = candidates.inputs_of(train_rows, BOOKKEEPING)
    selection = selecting.varying(train_rows, inputs.names, max_levels=config.max_levels)
    dropped = dict(selection.dropped)
    numeric = [name for name in inputs.numeric if name in selection.kept]
    if config.max_correlation < 1 and numeric:
        dropped |= selecting.uncorrelated(train_rows, numeric, max_correlation=config.max_correlation).dropped
    texts = [name for name in inputs.text if name in selection.kept]
    dropped |= selecting.worded(train_rows, texts, min_rows=config.min_word_rows).dropped
    kept = inputs.without(dropped)
    if not kept.names:
        raise DataError("FEATURES_EMPTY", f"No feature varies: {dropped}.", "At least one.", "Look at the source.")
    return kept, dropped
