"""Score the customers of today with the champion: probability, decile, decision and reasons, one row each.

Scoring the same customers with the same model again changes nothing: the model scores those for whom something it reads
changed, and only rows that differ from what is in the table are written.
"""

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from churn import experiment
from churn.algorithms.candidates import PROBABILITY, Inputs
from churn.algorithms.scores import DECISION, REASONS, Scorer, decided
from churn.config import ChurnConfig, as_trained
from churn.features import FEATURES, SPLIT
from churn.schema import CUSTOMER_ID, LABEL, SNAPSHOT_DATE
from churn.train import MODEL
from shared.core.errors import DataError
from shared.core.parallel import in_parallel
from shared.core.run import StepResult
from shared.delta import lineage
from shared.delta.digest import row_hash
from shared.delta.read import latest_version, read
from shared.delta.tables import TableRef, Warehouse, opened
from shared.deploy import batch
from shared.evaluation.thresholds import Costs
from shared.registry import documents, models, tracking
from shared.registry.versions import Registered

SCORES = "gold_churn_scores"
_PARTS = "work_churn_scores"
_INPUT_HASH = "input_hash"
_MODEL = ("model_name", "model_version", "model_run_id")  # each registry counts versions from 1
_MADE_FROM = (*_MODEL, _INPUT_HASH)
_SCORED = (CUSTOMER_ID, SNAPSHOT_DATE, PROBABILITY, REASONS, _INPUT_HASH, experiment.ALIAS)
_COLUMNS = (CUSTOMER_ID, SNAPSHOT_DATE, PROBABILITY, "decile", DECISION, REASONS, *_MADE_FROM, experiment.ALIAS)


def score_batch(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Score the customers at risk now with the champion, with a decision and the main reasons.

    The threshold follows from the costs of this command. With --split, e.g. ``champion=0.9,challenger=0.1``, each alias
    scores its share of the customers, and who got which is recorded for `ab-report`. While an experiment runs, customers
    stay in their arms, and arms with the versions they began with.

    Raises:
        ConfigError: two arms of the experiment are the same version.
        DataError: there is nobody to score; the scores stay as they are.
        ModelError: a model is missing, such as a version that the experiment began with.
    """
    client = tracking.connect(config, MODEL)
    before = experiment.assigned(spark, config) if config.ab.split else None
    arms = experiment.arms(client, config, before)
    first = arms[0].model
    config = as_trained(documents.logged(first, "config"), config)
    threshold = Costs(**config.costs.model_dump()).threshold
    warehouse = Warehouse(config.warehouse)
    source, target, parts = (warehouse.table(name) for name in (FEATURES, SCORES, _PARTS))
    version = latest_version(spark, source)
    features = read(spark, source, version)
    rows = experiment.with_arm(population(features, config), config, arms, before)
    found = [_scored(rows, arm.model, target, parts, config) for arm in arms]
    scored = reduce(DataFrame.unionByName, [some for some, _ in found]).persist()
    with_decile = scored.withColumns({"decile": decile(scored), **_of_alias([arm.model for arm in arms])})
    scores = decided(with_decile, threshold).select(*_COLUMNS)
    work: list[Callable[[], Any]] = [
        partial(batch.publish, scores, target, key=CUSTOMER_ID),
        scored.where(F.col(PROBABILITY) >= threshold).count,
        partial(lineage.record, spark, warehouse, run_id, "score-batch", [(source, version)]),
    ]
    published, contacted, _ = in_parallel(spark, work)
    experiment.record(spark, config, run_id, scores, arms, version)
    scored.unpersist()
    batch.forget_parts(spark, parts)
    frozen = experiment.frozen_versions(arms)
    has_left = {"left_already": features.where(F.col(LABEL) == 1).count()} if config.shape == "customers" else {}
    return StepResult(
        {
            "rows_scored": sum(count for _, count in found),
            "rows_written": published.inserted + published.updated,
            "rows_unchanged": published.unchanged,
            "rows_removed": published.removed,
            "to_contact": contacted,
            "threshold": threshold,
            **({"frozen_versions": frozen} if frozen else {}),
            **has_left,
        },
        tables={SCORES: {"path": target.path or target.name, "version": published.version, "rows": published.rows}},
        model=first.as_dict(),
    )


def _scored(
    rows: DataFrame, model: Registered, target: TableRef, parts: TableRef, config: ChurnConfig
) -> tuple[DataFrame, int]:
    """Return the rows of the arm of ``model`` with scores and reasons, and how many of them are new."""
    training = documents.logged(model, "training")
    inputs = Inputs.of(training["inputs"])
    scorer = Scorer(models.load(model), inputs, training["typical"], config.scoring.reasons)
    own = _with_made_from(rows.where(F.col(experiment.ALIAS) == model.alias), scorer, model)
    by: dict[str, Any] = {"key": CUSTOMER_ID, "made_from": _MADE_FROM, "kept": (PROBABILITY, REASONS)}
    known, new = batch.known_and_new(own, opened(rows.sparkSession, target), **by)
    made, count = batch.in_parts(new, scorer.score, parts, **by, rows_per_part=config.scoring.rows_per_part)
    if known is None:
        return made.select(*_SCORED), count
    if not count:
        return known.select(*_SCORED), count
    return known.select(*_SCORED).unionByName(made.select(*_SCORED)), count


def _with_made_from(rows: DataFrame, scorer: Scorer, model: Registered) -> DataFrame:
    """Add what a score is made from: the model, and a hash of what it reads and of how many reasons are wanted."""
    read_by_model = F.xxhash64(row_hash(rows, scorer.inputs.names), F.lit(scorer.reasons))
    return rows.withColumns({**_named(model), _INPUT_HASH: read_by_model})


def _of_alias(chosen: Sequence[Registered]) -> dict[str, Column]:
    """Return the model of a row by its alias: persisting the same names with every row would take longer."""
    first, *others = chosen
    named = _named(first)
    for model in others:
        is_own = F.col(experiment.ALIAS) == model.alias
        named = {name: F.when(is_own, value).otherwise(named[name]) for name, value in _named(model).items()}
    return named


def _named(model: Registered) -> dict[str, Column]:
    values = (model.name, model.version, model.run.info.run_id)
    return {name: F.lit(value) for name, value in zip(_MODEL, values, strict=True)}


def population(features: DataFrame, config: ChurnConfig) -> DataFrame:
    """Return the rows to score: those of today, or the customers of a table without dates who have not left."""
    is_wanted = F.col(LABEL) == 0 if config.shape == "customers" else F.col(SPLIT) == "current"
    return features.where(is_wanted)


def decile(scored: DataFrame) -> Column:
    """Return 1 for the tenth of the rows with the highest probability to 10 for the lowest; equal scores share one.

    The bounds are exact for probabilities of five digits: those of an approximate quantile change with the partitions, and
    a repeat would move customers at a bound.

    Raises:
        DataError: there are no rows.
    """
    shares = [place / 10 for place in range(1, 10)]
    bounds = scored.agg(F.percentile(F.round(PROBABILITY, 5), shares)).collect()[0][0]
    if bounds is None:
        raise DataError(
            "NOBODY_TO_SCORE",
            f"{FEATURES} holds no customer to score; {SCORES} stays as it is.",
            "Customers at risk on the newest snapshot, or without churn in a table of customers.",
            "Run features on newer data, or check --warehouse.",
        )
    above = sum((F.when(F.col(PROBABILITY) > bound, 1).otherwise(0) for bound in bounds), F.lit(0))
    return F.lit(10) - above
