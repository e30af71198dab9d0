"""Promote, keep or roll back: the challenger and the champion on the same test rows of the same version of the table."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from churn.algorithms.candidates import PROBABILITY
from churn.config import ChurnConfig, as_trained
from churn.evaluate import sliced
from churn.features import FEATURES, SPLIT
from churn.schema import CUSTOMER_ID, LABEL
from churn.train import MODEL, ROW_KEY
from shared.core.errors import DataError
from shared.core.parallel import in_parallel
from shared.core.run import StepResult
from shared.delta.problems import FAILURES
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse
from shared.evaluation import paired
from shared.features.tf_idf import WORDS
from shared.registry import documents, gates, ledger, models, promotion, tracking
from shared.registry.gates import Comparison, Verdict
from shared.registry.versions import Registered


def promote(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Make the challenger the champion when it passes every gate; refuse it otherwise. Either way a row in the ledger."""
    client = tracking.connect(config, MODEL)
    judge = partial(judged, spark, config)
    champion = promotion.promote(
        spark,
        Warehouse(config.warehouse),
        client,
        MODEL,
        run_id,
        judge,
        without_champion=config.gates.without_champion,
    )
    return StepResult({"promoted_version": champion.version}, model=champion.as_dict())


def promote_or_keep(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Do what `promote` does, but go on with the champion, if there is one, when the challenger is refused."""
    return promotion.or_keep(tracking.connect(config, MODEL), MODEL, partial(promote, spark, config, run_id))


def rollback(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Make the champion before this one the champion again; a second rollback undoes the first."""
    client = tracking.connect(config, MODEL)
    champion = promotion.rollback(spark, Warehouse(config.warehouse), client, MODEL, run_id)
    return StepResult({"champion_version": champion.version}, model=champion.as_dict())


def promotions(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Show every promotion, refusal and rollback, oldest first."""
    rows = ledger.entries(spark, Warehouse(config.warehouse), MODEL).collect()
    return StepResult({"decisions": len(rows)}, rows=[_shown(row) for row in rows])


def _shown(row: Row) -> dict[str, Any]:
    """Return a row of the ledger with what only a program reads as one value."""
    found = row.asDict() | {"verdict": json.loads(row["verdict"])}
    details = {name: found.pop(name) for name in ("event_id", "after_event", "champion_run_id", "verdict")}
    return found | {"details": details}


def judged(spark: SparkSession, config: ChurnConfig, challenger: Registered, champion: Registered | None) -> Verdict:
    """Return the verdict on a challenger, as `shared.registry.gates.verdict`."""
    config = as_trained(documents.logged(challenger, "config"), config)  # its slices are not the command's to name
    features = Warehouse(config.warehouse).table(FEATURES)
    newest = latest_version(spark, features)
    evaluation = documents.added_if_any(challenger, "evaluation") or {}
    rows = read(spark, features, newest)
    slices = sliced(config, rows)
    comparison: Comparison | None = None
    incomparable = ""
    if champion and evaluation.get("features_version") == newest:
        incomparable = _why_not(rows, champion)
        if not incomparable:
            comparison = _compared(spark, config, rows, slices, challenger, champion)
    return gates.verdict(
        config.gates,
        evaluation,
        newest_version=newest,
        slices=slices,
        has_champion=champion is not None,
        comparison=comparison,
        incomparable=incomparable,
    )


def _why_not(rows: DataFrame, champion: Registered) -> str:
    """Return why the champion cannot score these rows; empty when it can."""
    inputs = documents.logged(champion, "training")["inputs"]
    there = dict(rows.dtypes)
    missing = sorted({name for names in inputs.values() for name in names} - there.keys())
    if missing:
        return f"the champion, version {champion.version}, needs the columns {missing}, which {FEATURES} no longer has"
    texts = sorted(name for name in inputs["numeric"] if there[name] in ("string", WORDS))
    return f"the champion needs numbers in {texts}, which are text now" if texts else ""


def _compared(
    spark: SparkSession,
    config: ChurnConfig,
    rows: DataFrame,
    slices: list[str],
    challenger: Registered,
    champion: Registered,
) -> Comparison:
    """Return how the two do on the test rows that neither was trained on."""
    test = rows.where(F.col(SPLIT) == "test")
    unseen = _unseen(spark, config, test, champion)
    both = paired.scored_by_both(
        unseen, models.load(challenger), models.load(champion), probability=PROBABILITY
    ).cache()
    left_out = test.count() - both.count()
    parts: list[Callable[[], Any]] = [
        partial(
            paired.gain,
            both,
            unit=CUSTOMER_ID,
            label=LABEL,
            metric=config.gates.metric,
            replicates=config.bootstrap_replicates,
            confidence=config.gates.confidence,
            seed=config.seed,
        ),
        partial(paired.slice_losses, both, slices, label=LABEL),
    ]
    gain, losses = in_parallel(spark, parts)
    both.unpersist()
    return Comparison(config.gates.metric, gain.gain, gain.low, gain.high, gain.rows, losses, left_out, gain.positives)


def _unseen(spark: SparkSession, config: ChurnConfig, test: DataFrame, champion: Registered) -> DataFrame:
    """Leave out the rows, or customers, that the champion learned from, as far as its table can still be read.

    Where it cannot, they stay in: that speaks for the champion, and the challenger has to be so much better.
    """
    version = tracking.tables_of(champion.run)[FEATURES].version
    then = ChurnConfig.of_run(documents.logged(champion, "config"))
    key = (CUSTOMER_ID,) if then.split.by == "customer" else ROW_KEY
    try:
        rows = read(spark, Warehouse(config.warehouse).table(FEATURES), version)
        learned = rows.where(F.col(SPLIT).isin("train", "validation")).select(
            *(F.col(name).alias(f"_{name}") for name in key)
        )
        learned.count()  # whether its files are still there
    except (DataError, *FAILURES):
        return test
    is_same = [F.col(name).eqNullSafe(F.col(f"_{name}")) for name in key]
    return test.join(learned, is_same, "left_anti")
