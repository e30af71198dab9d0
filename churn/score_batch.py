"""Score the customers of today with the champion: probability, decile, decision and reasons, one row each.

Scoring the same customers with the same model again gives the same table.
"""

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from churn.algorithms import reasons
from churn.algorithms.candidates import PROBABILITY, Inputs
from churn.config import ChurnConfig
from churn.features import FEATURES, SPLIT
from churn.schema import CUSTOMER_ID, SNAPSHOT_DATE
from churn.train import MODEL
from shared.core.run import StepResult
from shared.delta import lineage
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse
from shared.delta.write import overwrite
from shared.registry import models, tracking

SCORES = "gold_churn_scores"
_REASONS = 3


def score_batch(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Score the customers at risk now with the champion, with a decision and the three main reasons."""
    client = tracking.connect(config, MODEL)
    champion = models.find(client, MODEL, models.CHAMPION)
    training = tracking.read_document(champion.run, "training")
    warehouse = Warehouse(config.warehouse)
    source, target = warehouse.table(FEATURES), warehouse.table(SCORES)
    version = latest_version(spark, source)
    inputs = Inputs(**{name: tuple(columns) for name, columns in training["inputs"].items()})
    rows = population(read(spark, source, version), config)
    numbered = rows.withColumn(reasons.ROW, F.monotonically_increasing_id()).localCheckpoint()
    scored = reasons.with_contributions(numbered, models.load(champion), inputs, training["typical"])
    threshold = F.lit(training["threshold"])
    result = scored.localCheckpoint()
    written = overwrite(
        result.select(
            CUSTOMER_ID,
            SNAPSHOT_DATE,
            PROBABILITY,
            decile(result).alias("decile"),
            F.when(F.col(PROBABILITY) >= threshold, "contact").otherwise("leave").alias("decision"),
            F.slice("contributions", 1, _REASONS).alias("reasons"),
            F.lit(MODEL).alias("model_name"),
            F.lit(champion.version).alias("model_version"),
        ),
        target,
        schema_may_change=True,
    )
    lineage.record(spark, warehouse, run_id, "score-batch", [(source, version)])
    contacted = read(spark, target).where("decision = 'contact'").count()
    return StepResult(
        {"rows_written": written.rows, "to_contact": contacted},
        tables={SCORES: {"path": target.path or target.name, "version": written.version, "rows": written.rows}},
        model=champion.as_dict(),
    )


def population(features: DataFrame, config: ChurnConfig) -> DataFrame:
    """Return the rows to score: those of today, perhaps none, or every customer of a table that has no dates."""
    return features if config.shape == "customers" else features.where(F.col(SPLIT) == "current")


def decile(scored: DataFrame) -> Column:
    """Return 1 for the tenth of the rows with the highest probability to 10 for the lowest; equal scores share one."""
    shares = [place / 10 for place in range(1, 10)]
    bounds = scored.agg(F.percentile_approx(PROBABILITY, shares, 10_000)).collect()[0][0] or []
    above = sum((F.when(F.col(PROBABILITY) > bound, 1).otherwise(0) for bound in bounds), F.lit(0))
    return F.lit(10) - above
