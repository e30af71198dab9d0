"""Promote or refuse: the challenger and the champion on the same test rows of the same version of the table."""

from functools import partial

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.cli.template.config import TemplateConfig
from shared.cli.template.features import CATEGORICAL, FEATURES
from shared.cli.template.schema import LABEL, ROW_ID
from shared.cli.template.train import MODEL, PROBABILITY
from shared.core.run import StepResult
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse
from shared.evaluation import paired
from shared.features.split import SPLIT
from shared.registry import documents, gates, models, promotion, tracking
from shared.registry.gates import Comparison, Verdict
from shared.registry.versions import Registered


def promote(spark: SparkSession, config: TemplateConfig, run_id: str) -> StepResult:
    """Make the challenger the champion when it passes every gate; refuse it otherwise. Either way a row in the ledger."""
    client, warehouse = tracking.connect(config, MODEL), Warehouse(config.warehouse)

    def judge(challenger: Registered, champion: Registered | None) -> Verdict:
        version = latest_version(spark, warehouse.table(FEATURES))
        rows = read(spark, warehouse.table(FEATURES), version).where(F.col(SPLIT) == "test")
        return gates.verdict(
            config.gates,
            documents.added(challenger, "evaluation"),
            newest_version=version,
            slices=CATEGORICAL,
            has_champion=champion is not None,
            comparison=compared(rows, config, challenger, champion) if champion else None,
        )

    champion = promotion.promote(
        spark, warehouse, client, MODEL, run_id, judge, without_champion=config.gates.without_champion
    )
    return StepResult({"champion_version": champion.version}, model=champion.as_dict())


def promote_or_keep(spark: SparkSession, config: TemplateConfig, run_id: str) -> StepResult:
    """Do what `promote` does, but go on with the champion, if there is one, when the challenger is refused."""
    return promotion.or_keep(tracking.connect(config, MODEL), MODEL, partial(promote, spark, config, run_id))


def compared(rows: DataFrame, config: TemplateConfig, challenger: Registered, champion: Registered) -> Comparison:
    """Return how the two do on the test rows, which a hash of the id keeps out of the training of both."""
    both = paired.scored_by_both(rows, models.load(challenger), models.load(champion), probability=PROBABILITY).cache()
    gain = paired.gain(
        both,
        unit=ROW_ID,
        label=LABEL,
        metric=config.gates.metric,
        replicates=config.bootstrap_replicates,
        confidence=config.gates.confidence,
        seed=config.seed,
    )
    losses = paired.slice_losses(both, CATEGORICAL, label=LABEL)
    both.unpersist()
    return Comparison(config.gates.metric, gain.gain, gain.low, gain.high, gain.rows, losses, positives=gain.positives)
