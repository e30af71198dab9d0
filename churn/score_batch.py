"""Score the customers of today with the champion: probability, decile, decision and reasons, one row each.

Scoring the same customers with the same model again gives the same table.
"""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from churn import experiment
from churn.algorithms import reasons
from churn.algorithms.candidates import PROBABILITY, Inputs
from churn.config import DECISIONS, ChurnConfig, as_trained
from churn.features import FEATURES, SPLIT
from churn.schema import CUSTOMER_ID, LABEL, SNAPSHOT_DATE
from churn.train import MODEL, ROW_KEY
from shared.core.errors import DataError
from shared.core.parallel import in_parallel
from shared.core.run import StepResult
from shared.delta import lineage
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse
from shared.delta.write import overwrite
from shared.evaluation.thresholds import Costs
from shared.registry import models, tracking
from shared.registry.versions import Registered

SCORES = "gold_churn_scores"
_REASONS = 3


def score_batch(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Score the customers at risk now with the champion, with a decision and the three main reasons.

    The threshold follows from the costs of this command. With --split, e.g. ``champion=0.9,challenger=0.1``, each alias
    scores its share of the customers, and who got which is recorded for `ab-report`.

    Raises:
        DataError: there is nobody to score; the scores stay as they are.
    """
    client = tracking.connect(config, MODEL)
    arms = experiment.arms(client, config)
    first = arms[0].model
    config = as_trained(tracking.read_document(first.run, "config"), config)
    costs = Costs(**config.costs.model_dump())
    contact, leave = DECISIONS
    warehouse = Warehouse(config.warehouse)
    source, target = warehouse.table(FEATURES), warehouse.table(SCORES)
    version = latest_version(spark, source)
    features = read(spark, source, version)
    rows = experiment.with_arm(population(features, config), config, arms)
    scored = reduce(DataFrame.unionByName, [_scored(rows, arm.model) for arm in arms]).cache()
    scores = scored.select(
        CUSTOMER_ID,
        SNAPSHOT_DATE,
        PROBABILITY,
        decile(scored).alias("decile"),
        F.when(F.col(PROBABILITY) >= costs.threshold, contact).otherwise(leave).alias("decision"),
        F.slice("contributions", 1, _REASONS).alias("reasons"),
        F.lit(MODEL).alias("model_name"),
        "model_version",
        experiment.ALIAS,
    )
    work: list[Callable[[], Any]] = [
        partial(overwrite, scores, target, schema_may_change=True),
        scored.where(F.col(PROBABILITY) >= costs.threshold).count,
        partial(lineage.record, spark, warehouse, run_id, "score-batch", [(source, version)]),
    ]
    written, contacted, _ = in_parallel(spark, work)
    experiment.record(spark, config, run_id, scores, arms, version)
    scored.unpersist()
    has_left = {"left_already": features.where(F.col(LABEL) == 1).count()} if config.shape == "customers" else {}
    return StepResult(
        {"rows_written": written.rows, "to_contact": contacted, "threshold": costs.threshold, **has_left},
        tables={SCORES: {"path": target.path or target.name, "version": written.version, "rows": written.rows}},
        model=first.as_dict(),
    )


def _scored(rows: DataFrame, model: Registered) -> DataFrame:
    """Return the rows of the arm of ``model`` with their scores and reasons."""
    training = tracking.read_document(model.run, "training")
    inputs = Inputs(**{name: tuple(columns) for name, columns in training["inputs"].items()})
    own = rows.where(F.col(experiment.ALIAS) == model.alias).withColumn("model_version", F.lit(model.version))
    return reasons.with_contributions(own, models.load(model), inputs, training["typical"], key=ROW_KEY)


def population(features: DataFrame, config: ChurnConfig) -> DataFrame:
    """Return the rows to score: those of today, or the customers of a table without dates who have not left."""
    is_wanted = F.col(LABEL) == 0 if config.shape == "customers" else F.col(SPLIT) == "current"
    return features.where(is_wanted)


def decile(scored: DataFrame) -> Column:
    """Return 1 for the tenth of the rows with the highest probability to 10 for the lowest; equal scores share one.

    Raises:
        DataError: there are no rows.
    """
    shares = [place / 10 for place in range(1, 10)]
    bounds = scored.agg(F.percentile_approx(PROBABILITY, shares, 10_000)).collect()[0][0]
    if bounds is None:
        raise DataError(
            "NOBODY_TO_SCORE",
            f"{FEATURES} holds no customer to score; {SCORES} stays as it is.",
            "Customers at risk on the newest snapshot, or without churn in a table of customers.",
            "Run features on newer data, or check --warehouse.",
        )
    above = sum((F.when(F.col(PROBABILITY) > bound, 1).otherwise(0) for bound in bounds), F.lit(0))
    return F.lit(10) - above
