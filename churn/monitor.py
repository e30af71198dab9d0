"""Watch the champion: a window is a snapshot ``label.every_days`` after the last one that was watched.

Of a table of customers, which has no dates, a version with other rows than the one before is a window. Each is computed
once for a model and looked up afterwards, so monitoring again without new data changes nothing. Bins and baseline are
learned from the rows the model was trained on, the first time it is watched, and stored with its training run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pyspark.ml import PipelineModel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from churn.algorithms.candidates import PROBABILITY, Inputs
from churn.config import ChurnConfig, as_trained
from churn.evaluate import sliced
from churn.features import FEATURES, SPLIT
from churn.ingest import QUALITY
from churn.schema import LABEL, SNAPSHOT_DATE, STREAM_DECISIONS
from churn.train import MODEL
from shared.core import clock
from shared.core.errors import DataError
from shared.core.run import StepResult
from shared.delta import lineage
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse
from shared.monitoring import history, metrics, quality
from shared.monitoring.alerts import KINDS, Alert
from shared.monitoring.bins import ColumnBins, learn
from shared.monitoring.drift import judged_against
from shared.monitoring.history import ModelKey
from shared.monitoring.profile import profile
from shared.monitoring.quality import Rejected
from shared.monitoring.sinks import deliver
from shared.monitoring.watch import Found, Tables, Watched, frequent, limited, look
from shared.registry import documents, models, tracking
from shared.report import html
from shared.report import monitoring as page

PROFILES, DRIFTS = "ops_churn_profile_metrics", "ops_churn_drift_metrics"
PERFORMANCES, ALERTS = "ops_churn_performance_metrics", "ops_churn_alerts"
_DOCUMENT = "baseline"


@dataclass(frozen=True)
class Standing:
    """The champion, what is known of it, and the trend of what was put aside."""

    champion: models.Registered
    watched: Watched
    found: Found
    rejected: list[Rejected]


def monitor(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Measure drift, performance and quality of what is new, raise alerts, and write the monitoring page.

    Raises:
        ConfigError: as of `stand`.
        DataError: an alert is new and ``monitoring.fail_on_alert`` is set.
    """
    standing = stand(spark, config, run_id)
    found, champion = standing.found, standing.champion
    path = tracking.local_folder(config) / "reports" / "monitoring.html"
    try:
        _show(config, standing, path, run_id)
    finally:  # what cannot be shown is alerted all the same
        fired = send(spark, config, standing, run_id)
    if fired and config.monitoring.fail_on_alert:
        raise DataError(
            "ALERTS_FIRED", f"{len(fired)} new: {'; '.join(map(_sentence, fired))}.", "None.", f"Look at {path}."
        )
    warehouse = Warehouse(config.warehouse)
    written = {PROFILES: len(found.profiles), DRIFTS: len(found.drifts), PERFORMANCES: len(found.performances)}
    return StepResult(
        {
            "windows": len(found.windows),
            "windows_new": len(found.new),
            "window": found.newest,
            "columns": len(standing.watched.bins),
            "drifted": found.drifted(PROBABILITY),
            "alerts": [_sentence(alert) for alert in fired],
        },
        tables={
            name: {
                "path": warehouse.table(name).location,
                "version": latest_version(spark, warehouse.table(name)),
                "rows": rows,
            }
            for name, rows in written.items()
        },
        model=champion.as_dict(),
        report=str(path),
    )


def _show(config: ChurnConfig, standing: Standing, path: Path, run_id: str) -> None:
    """Write the figures for Prometheus and the page, which is kept with the model it tells of: ``path`` may be lost."""
    if config.monitoring.sinks.textfile:
        text = metrics.exposition(MODEL, _figures(standing, config))
        metrics.write_textfile(Path(config.monitoring.sinks.textfile), text)
    html.write_text(page.render(_page(standing, config, run_id)), path)
    tracking.write_file(standing.champion.run, path)


def stand(spark: SparkSession, config: ChurnConfig, run_id: str) -> Standing:
    """Measure what is new and return all that is known of the champion; sends nothing.

    Raises:
        ConfigError: MAY_CHANGE_UNKNOWN; ``monitoring.may_change`` names a column that is not watched of the champion.
        ModelError: there is no champion, or it was not evaluated.
        DataError: there are no features.
    """
    client = tracking.connect(config, MODEL)
    champion = models.find(client, MODEL, models.CHAMPION)
    config = as_trained(documents.logged(champion, "config"), config)
    warehouse = Warehouse(config.warehouse)
    version = latest_version(spark, warehouse.table(FEATURES))
    rows = read(spark, warehouse.table(FEATURES), version)
    model = models.load(champion)
    inputs = Inputs.of(documents.logged(champion, "training")["inputs"])
    watched = _watched(spark, config, champion, model, inputs, rows)
    rejected = quality.trend(spark, warehouse.table(QUALITY), warehouse.table(STREAM_DECISIONS))
    found = look(
        rows,
        partial(_scored, model, inputs.text),
        watched,
        _tables(warehouse),
        config.monitoring,
        window=_window(spark, config, version, run_id),
        run_id=run_id,
        every_days=None if config.shape == "customers" else config.label.every_days,
        is_judged=~F.col(SPLIT).isin("train", "validation") if config.split.by == "customer" else None,
        rejected=rejected,
    )
    return Standing(champion, watched, found, rejected)


def _tables(warehouse: Warehouse) -> Tables:
    return Tables(*(warehouse.table(name) for name in (PROFILES, DRIFTS, PERFORMANCES, ALERTS)))


def _window(spark: SparkSession, config: ChurnConfig, version: int, run_id: str) -> Column:
    if config.shape != "customers":
        return F.col(SNAPSHOT_DATE).cast("string")
    since = lineage.unchanged_since(spark, Warehouse(config.warehouse), FEATURES, version, run_id, "monitor")
    return F.lit(f"version-{since:06d}")


def _scored(model: PipelineModel, texts: Sequence[str], rows: DataFrame) -> DataFrame:
    return countable(model.transform(rows), texts)


def countable(rows: DataFrame, texts: Sequence[str]) -> DataFrame:
    """Return the rows with the number of words in place of each text, null where nothing was written."""
    return rows.withColumns({name: F.nullif(F.size(name), F.lit(0)) for name in texts})


def _watched(
    spark: SparkSession,
    config: ChurnConfig,
    champion: models.Registered,
    model: PipelineModel,
    inputs: Inputs,
    rows: DataFrame,
) -> Watched:
    """Return what the champion is compared with; learned and stored the first time."""
    evaluation = documents.added(champion, "evaluation")
    document = documents.added_if_any(champion, _DOCUMENT)
    if document is None:
        document = _learned(spark, config, champion, model, inputs)
        documents.add(champion, _DOCUMENT, document)
    return Watched(
        ModelKey(champion.name, champion.version, champion.run.info.run_id),
        [ColumnBins.of(values) for values in document["bins"]],
        [history.profile_of(row) for row in document["baseline"]],
        evaluation["test"],
        LABEL,
        PROBABILITY,
        _slices(config, rows),
        document["trained_until"],
        document["slices"],
    )


def _slices(config: ChurnConfig, rows: DataFrame) -> Mapping[str, Column]:
    return {name: F.col(name) for name in sliced(config, rows)}


def _learned(
    spark: SparkSession, config: ChurnConfig, champion: models.Registered, model: PipelineModel, inputs: Inputs
) -> dict[str, Any]:
    """Return bins and profiles of the rows the champion was trained on, at the version that it was.

    Predictions are those of the validation rows: on the rows it was fitted on a forest is surer than it is ever after.
    In a table of customers these are in every window again, so there predictions are those of all rows.
    """
    version = tracking.tables_of(champion.run)[FEATURES].version
    there = read(spark, Warehouse(config.warehouse).table(FEATURES), version)
    taught = there.where(F.col(SPLIT).isin("train", "validation"))
    slices = _slices(config, taught)
    of_inputs = countable(taught.where(F.col(SPLIT) == "train"), inputs.text).cache()
    scored = there if config.shape == "customers" else taught.where(F.col(SPLIT) == "validation")
    of_scores = model.transform(scored).cache()
    try:
        kept = frequent(of_inputs, slices, config.monitoring.slices)
        learned = [
            (of_inputs, learn(of_inputs, numeric=inputs.numeric + inputs.text, categorical=inputs.categorical)),
            (of_scores, learn(of_scores, numeric=[PROBABILITY], categorical=[])),
        ]
        profiles = [each for rows, bins in learned for each in profile(rows, bins, slices=limited(slices, kept))]
    finally:
        of_inputs.unpersist()
        of_scores.unpersist()
    last = taught.agg(F.max(SNAPSHOT_DATE).cast("string")).collect()[0][0]
    return {
        "features_version": version,
        "trained_until": last,
        "slices": kept,
        "bins": [each.as_dict() for _, bins in learned for each in bins],
        "baseline": [history.profile_row(each) for each in profiles],
    }


def send(spark: SparkSession, config: ChurnConfig, standing: Standing, run_id: str) -> list[Alert]:
    """Send the alerts that were not sent yet, note them and return them.

    What was not delivered is not noted, so it is sent again the next time.

    Raises:
        AcceleratorError: a sink failed; the others have them.
    """
    ref, model = Warehouse(config.warehouse).table(ALERTS), standing.watched.model
    sent = {(row["window"], row["kind"], row["subject"]) for row in history.of_model(spark, ref, model)}
    fresh = [each for each in standing.found.alerts if (each.window, each.kind, each.subject) not in sent]
    deliver(fresh, {"vertical": MODEL, "model_version": model.version, "run_id": run_id}, config.monitoring.sinks)
    key = {f"{each.window} {each.kind} {each.subject}" for each in fresh}
    rows = [each.as_dict() for each in fresh]
    history.append(spark, ref, history.ALERTS, rows, model=model, run_id=run_id, key=key)
    return fresh


def _sentence(alert: Alert) -> str:
    return f"{alert.kind}, {alert.subject} ({alert.window}): {alert.reason}"


def _figures(standing: Standing, config: ChurnConfig) -> metrics.Figures:
    found = standing.found
    newest = [d for d in judged_against(found.drifts, config.monitoring) if d.window == found.newest]
    inputs = [d for d in newest if d.column != PROBABILITY]
    matured = [p for p in found.performances if p.window in found.watched and p.labelled]
    last = matured[-1] if matured else None
    rows = [p.rows for p in found.profiles if p.window == found.newest and p.slice_key is None]
    return {
        "monitor_last_success_timestamp_seconds": clock.utc_now().timestamp(),
        "monitor_window_timestamp_seconds": _timestamp(found.newest),
        "monitor_window_rows": rows[0] if rows else None,
        "monitor_columns_drifted": len(found.drifted(PROBABILITY)),
        "monitor_drift_distance_max": max((d.distance for d in inputs if d.distance is not None), default=None),
        "monitor_prediction_drift_distance": next((d.distance for d in newest if d.column == PROBABILITY), None),
        "monitor_null_change_max": max((d.null_change for d in inputs if d.null_change is not None), default=None),
        "monitor_alerts": {kind: len(found.condition.reasons.get(kind, ())) for kind in KINDS},
        "monitor_labelled_ratio": last.labelled_share if last else None,
        "monitor_auc": last.auc if last else None,
        "monitor_brier": last.brier if last else None,
        "monitor_ece": last.ece if last else None,
        "monitor_rows_rejected_ratio": standing.rejected[-1].share if standing.rejected else None,
        "model_version": standing.watched.model.version,
    }


def _timestamp(window: str | None) -> float:
    try:
        day = date.fromisoformat(window or "")
    except ValueError:
        return 0.0
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _page(standing: Standing, config: ChurnConfig, run_id: str) -> page.MonitoringPage:
    return page.MonitoringPage(
        title="Is the churn model still right?",
        subtitle="Customer churn",
        model=html.Model(standing.champion.name, standing.champion.version, standing.champion.alias),
        run_id=run_id,
        created_ts=clock.utc_now(),
        source=config.source or "made-up customers, whose truth is known",
        found=standing.found,
        watched=standing.watched,
        settings=config.monitoring,
        rejected=standing.rejected,
    )
