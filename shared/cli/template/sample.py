"""Made-up rows whose probabilities are known, so that a model's ceiling is known too.

Every draw is a hash of seed, row and purpose: the same settings give the same rows on any cluster.
"""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.cli.template.config import TemplateConfig
from shared.cli.template.schema import PLANS, ROW_ID, ROWS
from shared.core.draws import Draw
from shared.core.errors import ConfigError
from shared.core.run import StepResult

TRUTH = "true_probability"


def sample(spark: SparkSession, config: TemplateConfig, run_id: str) -> StepResult:
    """Write the embedded data; a run with a source of its own needs none."""
    if config.source is not None:
        return StepResult({"rows_written": 0})
    rows = generate(spark, config.sample.rows, config.sample.difficulty, config.seed)
    rows.select(*ROWS.names).write.mode("overwrite").option("header", True).csv(f"{folder(config)}/rows")
    rows.select(ROW_ID, TRUTH).write.mode("overwrite").parquet(f"{folder(config)}/truth")
    return StepResult({"rows_written": config.sample.rows})


def folder(config: TemplateConfig) -> str:
    """Return where the embedded data lie: in the warehouse, beside its tables.

    Raises:
        ConfigError: the warehouse is a catalog, which holds no files.
    """
    if config.warehouse.startswith("catalog:"):
        raise ConfigError("SOURCE_NEEDED", f"{config.warehouse} holds no files.", "", "Give --source.")
    return f"{config.warehouse.rstrip('/')}/raw_template"


def generate(spark: SparkSession, rows: int, difficulty: float, seed: int) -> DataFrame:
    """Return the columns of `ROWS` and `true_probability`, from which `happened` is drawn.

    Args:
        spark: the session.
        rows: how many.
        difficulty: divides the signal: 1 gives a ceiling near AUC 0.84, larger less.
        seed: any whole number.
    """
    draw = Draw(seed)
    wealth = draw.normal("wealth", "id")
    plan = draw.pick(PLANS, "plan", "id")
    drawn = spark.range(rows).select(
        "id",
        F.format_string("R%07d", F.col("id")).alias(ROW_ID),
        F.round(F.exp(3 + 0.6 * wealth), 2).alias("amount"),
        draw.whole(12, "visits", "id").alias("visits"),
        F.when(draw.uniform("unknown", "id") >= 0.03, plan).alias("plan"),
    )
    by_plan = F.when(F.col("plan") == "basic", 0.8).when(F.col("plan") == "premium", -0.8).otherwise(0.0)
    signal = 1.6 * (F.log("amount") - 3) - 0.25 * (F.col("visits") - 5) + by_plan
    known = drawn.withColumn(TRUTH, 1 / (1 + F.exp(1.6 - signal / difficulty)))
    return known.withColumn("happened", draw.uniform("happened", "id") < F.col(TRUTH)).drop("id")
