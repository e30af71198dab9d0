"""Events from a folder or from Kafka: into the silver tables, and new scores for the customers they are about.

A customer is scored as `score-batch` would score them on the same tables: on the day after the newest activity, with the
champion. Other customers keep their scores until the next `score-batch`, though a new day changes their features too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial, reduce
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn import features, schema
from churn.algorithms import labels
from churn.algorithms.candidates import PROBABILITY, Inputs
from churn.algorithms.scores import DECISION, REASONS, Scorer, decided
from churn.config import MODEL, ChurnConfig, as_trained
from churn.ingest import expectations, tables_of
from churn.schema import (
    CUSTOMER_ID,
    EVENT_TS,
    LABEL,
    OUTCOME_END_DATE,
    OUTCOME_START_DATE,
    SNAPSHOT_DATE,
)
from shared.core.columns import Table
from shared.core.errors import ConfigError
from shared.core.parallel import in_parallel
from shared.core.run import StepResult
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse
from shared.delta.write import append_once
from shared.deploy import stream
from shared.evaluation.thresholds import Costs
from shared.features.point_in_time import utc_date
from shared.ingest import pipeline
from shared.ingest.events import Landings, events_of, land_events
from shared.ingest.landing import Batch, Landing, Taken, first_of
from shared.monitoring import quality
from shared.registry import documents, models, tracking, versions

SCORES = "gold_churn_stream_scores"
STRAYS = "quarantine_churn_events"
CHECKPOINT = "checkpoint_churn_stream"
# A day of use has no id of its own; an event that came before is told by these.
_KEYS = {schema.USAGE.name: (CUSTOMER_ID, EVENT_TS)}
# A contract ends by a row of the same id with an end; other rows of a known id are put aside.
_NEWER_BY = {schema.SUBSCRIPTIONS.name: "end_date"}
_ACTIVITY = {"subscriptions": schema.USAGE.name, "purchases": schema.PURCHASES.name}
# So many customers are named to the search of the tables, which then skips files and rows of others.
_NAMED_CUSTOMERS = 1_000


def score_stream(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Take events from a folder or Kafka and score the customers they are about, each event and score exactly once.

    Raises:
        ConfigError: the model is of a table of customers, which has no events; or the stream is not described.
        DataError: a batch was refused.
    """
    client = tracking.connect(config, MODEL)
    champion = models.find(client, MODEL, models.CHAMPION)
    trained = as_trained(documents.logged(champion, "config"), config)
    if trained.shape not in _ACTIVITY:
        found = f"The champion scores a table of shape {trained.shape}, which has no events."
        raise ConfigError("STREAM_INVALID", found, f"A model of shape {' or '.join(_ACTIVITY)}.", "Use score-batch.")
    warehouse = Warehouse(config.warehouse)
    lines = stream.events(spark, config.stream)
    taker = _Taker(spark, config, client, trained)
    checkpoint = stream.checkpoint_of(config.stream, warehouse, CHECKPOINT)
    facts = stream.run(lines, taker.take, config.stream, checkpoint=checkpoint)
    target = warehouse.table(SCORES)
    tables = {SCORES: {"path": target.location, "rows": facts["customers_scored"]}} if facts["batches"] else {}
    return StepResult(facts, tables=tables, model=champion.as_dict())


class _Taker:
    """Takes batches of events; holds the model of the last batch, never rows."""

    def __init__(
        self, spark: SparkSession, config: ChurnConfig, client: tracking.MlflowClient, trained: ChurnConfig
    ) -> None:
        self.spark, self.config, self.client = spark, config, client
        self.warehouse = Warehouse(config.warehouse)
        self.tables = tables_of(trained)
        self.activity = _ACTIVITY[trained.shape]
        self.newest: date | None = None
        self.model: tuple[tuple[int, str], Scorer, ChurnConfig] | None = None

    def take(self, lines: DataFrame, batch: Batch) -> dict[str, int]:
        strays = self.warehouse.table(STRAYS)
        taken, stray_count = land_events(self.spark, lines, batch, self._stages(), strays)
        written = sum(each.rows_written for each in taken.values())
        aside = sum(each.rows_quarantined for each in taken.values()) + stray_count
        events, touched, scored = written + aside, 0, 0
        if events:
            decision = stream.decided_once(
                self.spark,
                self.warehouse.table(schema.STREAM_DECISIONS),
                batch,
                lambda: {quality.CHECKED: events, quality.REJECTED: aside, **(self._decide() if written else {})},
            )
            touched, scored = self._score(taken, batch, decision) if written else (0, 0)
        return {
            "events": events,
            "rows_written": written,
            "rows_quarantined": aside,
            "customers": touched,
            "customers_scored": scored,
        }

    def _stages(self) -> Sequence[Landings]:
        """Customers first, since the other tables refer to them."""
        by_name = {table.name.removeprefix("silver_churn_"): table for table in self.tables}
        landings = {name: partial(self._landing, table) for name, table in by_name.items()}
        first = {name: landing for name, landing in landings.items() if by_name[name] is schema.CUSTOMERS}
        return [first, {name: landing for name, landing in landings.items() if name not in first}]

    def _landing(self, table: Table) -> Landing:
        key = _KEYS.get(table.name, table.key)
        customers = None
        if schema.CUSTOMERS in self.tables and table is not schema.CUSTOMERS:
            customers = read(self.spark, self.warehouse.table(schema.CUSTOMERS.name))
        rules = [*pipeline.declared(replace(table, key=())), *expectations(table, customers)]
        if key:
            rules.append(first_of(*key))
        label, share = self.config.stream.label, self.config.stream.max_failed_share
        newer_by = _NEWER_BY.get(table.name)
        return Landing(self.spark, events_of(label), table, self.warehouse, rules, key, newer_by, share)

    def _score(self, taken: Mapping[str, Taken], batch: Batch, decision: Mapping[str, Any]) -> tuple[int, int]:
        """Score the customers of the batch, and return how many they are and how many of them are at risk."""
        ids = [each.accepted.select(CUSTOMER_ID) for each in taken.values() if each.rows_written]
        customers = reduce(DataFrame.union, ids).distinct().persist()
        only, touched = _only(customers)
        day = date.fromisoformat(decision["as_of_date"])
        self.newest = day
        scorer, config = self._model(decision["model_version"], decision["model_run_id"])
        tables = {
            name: only(read(self.spark, self.warehouse.table(name), version))
            for name, version in decision["tables"].items()
        }
        rows = features_of(tables, config, day).persist()
        scores = decided(scorer.score(rows), decision["threshold"]).select(
            CUSTOMER_ID,
            SNAPSHOT_DATE,
            PROBABILITY,
            DECISION,
            REASONS,
            F.lit(MODEL).alias("model_name"),
            F.lit(decision["model_version"]).alias("model_version"),
            F.lit(decision["model_run_id"]).alias("model_run_id"),
            F.lit(batch.app_id).alias("stream_id"),
            F.lit(batch.number).cast("long").alias("batch_id"),
            F.lit(datetime.fromisoformat(decision["decided_ts"])).alias("scored_ts"),
        )
        # Sums of a day's events come in any order, so the last digit of a probability may differ in a repeat, which is
        # told by its decision instead.
        written = append_once(
            scores, self.warehouse.table(SCORES), app_id=batch.app_id, version=batch.number, digest=str(decision)
        )
        scored = rows.count() if written.is_replay else written.rows
        rows.unpersist()
        customers.unpersist()
        return touched, scored

    def _decide(self) -> dict[str, Any]:
        """Decide the day, the model, the threshold and the versions of the tables that the batch is scored with."""
        refs = [self.warehouse.table(table.name) for table in self.tables]
        works: list[Callable[[], int]] = [partial(latest_version, self.spark, ref) for ref in refs]
        versions = dict(zip((ref.name for ref in refs), in_parallel(self.spark, works), strict=True))
        champion = models.find(self.client, MODEL, models.CHAMPION)
        _, config = self._model(champion.version, champion.run.info.run_id)
        return {
            "as_of_date": self._as_of(config, versions[self.activity]).isoformat(),
            "model_version": champion.version,
            "model_run_id": champion.run.info.run_id,
            "threshold": Costs(**config.costs.model_dump()).threshold,
            "tables": versions,
        }

    def _as_of(self, config: ChurnConfig, version: int) -> date:
        """Return the day of `features`: the one that is set, else the day after the newest activity."""
        if self.config.label.as_of is not None:
            return self.config.label.as_of
        activity = read(self.spark, self.warehouse.table(self.activity), version)
        if self.newest is None:
            return features.log_ends(activity, config)[1]  # a look at the whole log, once a process
        # Only the newest files need be looked at.
        day = utc_date(activity, EVENT_TS)
        begin = datetime.combine(self.newest, datetime.min.time(), UTC)
        newest = activity.where(F.col(EVENT_TS) >= begin).agg(F.max(day)).collect()[0][0]
        return self.newest if newest is None else newest + timedelta(days=1)

    def _model(self, version: int, run_id: str) -> tuple[Scorer, ChurnConfig]:
        # A registered model that is deleted and trained anew counts from 1 again.
        if self.model is None or self.model[0] != (version, run_id):
            found = versions.at_version(self.client, MODEL, version, run_id)
            training = documents.logged(found, "training")
            inputs = Inputs.of(training["inputs"])
            scorer = Scorer(models.load(found), inputs, training["typical"], self.config.scoring.reasons)
            config = as_trained(documents.logged(found, "config"), self.config)
            self.model = ((version, run_id), scorer, config)
        return self.model[1:]


def features_of(tables: Mapping[str, DataFrame], config: ChurnConfig, day: date) -> DataFrame:
    """Return the features of the customers at risk on ``day``, made as `features` makes those of its newest snapshot.

    Events before the observation window are not read.

    Args:
        tables: name → rows of the silver tables; those of some customers give the features of these.
        config: shape and windows.
        day: the snapshot day; events before it are seen.

    Returns:
        ``customer_id``, ``snapshot_date`` and the features, one row per customer.
    """
    label = config.label
    begin = datetime.combine(day, datetime.min.time(), UTC) - timedelta(days=label.observation_days)
    seen = {
        name: rows.where(F.col(EVENT_TS) >= begin) if EVENT_TS in rows.columns else rows
        for name, rows in tables.items()
    }
    lengths = labels.LabelWindows(label.observation_days, label.gap_days, label.outcome_days)
    if config.shape == "purchases":
        facts = seen[schema.PURCHASES.name]
        at_risk = labels.snapshots(facts, lengths, [day], day, rule="inactive").candidates
        rows = features.of_purchases(facts, at_risk, label)
    else:
        at_risk = labels.snapshots(seen[schema.SUBSCRIPTIONS.name], lengths, [day], day, rule="ended").candidates
        rows = features.of_subscriptions(seen, at_risk, label, config.words)
    return rows.drop(LABEL, OUTCOME_START_DATE, OUTCOME_END_DATE)


def _only(customers: DataFrame) -> tuple[Callable[[DataFrame], DataFrame], int]:
    """Return what keeps the rows of ``customers``, and how many they are: few are named, so that files of others are skipped."""
    few = [row[CUSTOMER_ID] for row in customers.limit(_NAMED_CUSTOMERS + 1).collect()]
    if len(few) <= _NAMED_CUSTOMERS:
        return lambda rows: rows.where(F.col(CUSTOMER_ID).isin(few)), len(few)
    return lambda rows: rows.join(customers, CUSTOMER_ID, "left_semi"), customers.count()
