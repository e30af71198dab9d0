"""Raw rows into bronze, silver and quarantine."""

from pathlib import Path

from pyspark.sql import SparkSession

from shared.cli.template import sample as generator
from shared.cli.template.config import TemplateConfig
from shared.cli.template.schema import ROWS
from shared.core.errors import ConfigError
from shared.core.run import StepResult
from shared.delta.tables import Warehouse
from shared.delta.write import overwrite
from shared.ingest.pipeline import land, publish
from shared.ingest.source import Source
from shared.quality.report import COLUMNS, as_rows

QUALITY = "ops_template_quality"


def ingest(spark: SparkSession, config: TemplateConfig, run_id: str) -> StepResult:
    """Bring the source into bronze, silver and quarantine tables; stop when too many rows are broken."""
    warehouse = Warehouse(config.warehouse)
    landed = land(spark, source_of(config), ROWS, warehouse, ingest_id=run_id, max_failed_share=config.max_failed_share)
    done = publish(landed)
    rules = spark.createDataFrame(as_rows(done.rules), COLUMNS)
    overwrite(rules, warehouse.table(QUALITY), schema_may_change=True)
    facts = {name: getattr(done, name) for name in ("rows_read", "rows_written", "rows_quarantined")}
    return StepResult(facts, tables={name: dict(entry) for name, entry in done.tables.items()})


def source_of(config: TemplateConfig) -> Source:
    """Return how the table is read: CSV with the names of `schema.py`; map yours to them with ``columns``.

    Raises:
        ConfigError: there is nothing at a local source.
    """
    if config.source and "://" not in config.source and not Path(config.source).exists():
        raise ConfigError("SOURCE_MISSING", f"Nothing at {config.source}.", "A folder or file.", "Check --source.")
    return Source(format="csv", path=config.source or f"{generator.folder(config)}/rows")
