"""Features: pure functions of the rows, then label and split beside them.

Only what is a plain column is here; what learns from training rows is fitted in `train`.
"""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.cli.template.config import TemplateConfig
from shared.cli.template.schema import LABEL, ROW_ID, ROWS
from shared.core.run import StepResult
from shared.delta import lineage
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse
from shared.delta.write import overwrite
from shared.features.split import by_hash

FEATURES = "gold_template_features"
NUMERIC = ("amount", "visits", "amount_per_visit")
CATEGORICAL = ("plan",)
_SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


def features(spark: SparkSession, config: TemplateConfig, run_id: str) -> StepResult:
    """Build the feature table: one row each, with label and split."""
    warehouse = Warehouse(config.warehouse)
    silver, gold = warehouse.table(ROWS.name), warehouse.table(FEATURES)
    version = latest_version(spark, silver)
    rows = by_hash(of_rows(read(spark, silver, version)), ROW_ID, _SHARES, seed=config.seed)
    lineage.record(spark, warehouse, run_id, "features", [(silver, version)])
    written = overwrite(rows, gold, schema_may_change=True)
    table = {"path": gold.location, "version": written.version, "rows": written.rows}
    return StepResult({"rows_written": written.rows}, tables={FEATURES: table})


def of_rows(rows: DataFrame) -> DataFrame:
    """Return ``row_id``, the features and the label (1 where it happened).

    ``amount_per_visit`` is null without visits.
    """
    per_visit = F.col("amount") / F.nullif(F.col("visits"), F.lit(0))
    label = F.col("happened").cast("int").alias(LABEL)
    return rows.select(ROW_ID, "amount", "visits", per_visit.alias("amount_per_visit"), "plan", label)
