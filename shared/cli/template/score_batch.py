"""Score all rows with the champion: probability and decision. Scoring the same rows again gives the same table."""

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from shared.cli.template.config import TemplateConfig
from shared.cli.template.features import FEATURES
from shared.cli.template.schema import ROW_ID
from shared.cli.template.train import MODEL, PROBABILITY
from shared.core.run import StepResult
from shared.delta import lineage
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse
from shared.delta.write import overwrite
from shared.evaluation.thresholds import Costs
from shared.registry import models, tracking

SCORES = "gold_template_scores"


def score_batch(spark: SparkSession, config: TemplateConfig, run_id: str) -> StepResult:
    """Score the rows with the champion; the threshold follows from the costs."""
    champion = models.find(tracking.connect(config, MODEL), MODEL, models.CHAMPION)
    warehouse = Warehouse(config.warehouse)
    source, target = warehouse.table(FEATURES), warehouse.table(SCORES)
    version = latest_version(spark, source)
    threshold = Costs(**config.costs.model_dump()).threshold
    scores = models.load(champion).transform(read(spark, source, version))
    is_act = F.col(PROBABILITY) >= threshold
    written = overwrite(
        scores.select(
            ROW_ID,
            PROBABILITY,
            F.when(is_act, "act").otherwise("leave").alias("decision"),
            F.lit(champion.version).alias("model_version"),
        ),
        target,
        schema_may_change=True,
    )
    lineage.record(spark, warehouse, run_id, "score-batch", [(source, version)])
    table = {"path": target.location, "version": written.version, "rows": written.rows}
    return StepResult(
        {"rows_written": written.rows, "threshold": threshold}, tables={SCORES: table}, model=champion.as_dict()
    )
