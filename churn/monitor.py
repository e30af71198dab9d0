"""Watch the champion: every snapshot is a window; of a table of customers, which has no dates, every version of it is one.

A window is computed once for a model and looked up afterwards, so monitoring again without new data changes nothing.
Bins and baseline are learned from the rows the model was trained on, the first time it is watched, and stored with its
training run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pyspark.ml import PipelineModel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from churn.algorithms.candidates import PROBABILITY
from churn.config import ChurnConfig, as_trained
from churn.evaluate import sliced
from churn.features import FEATURES, SPLIT
from churn.ingest import QUALITY
from churn.schema import LABEL, SNAPSHOT_DATE
from churn.train import MODEL
from shared.core import clock
from shared.core.errors import DataError, ModelError
from shared.core.run import StepResult
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse
from shared.monitoring import history, metrics, quality
from shared.monitoring.alerts import KINDS, Alert, Condition
from shared.monitoring.bins import ColumnBins, learn
from shared.monitoring.drift import judged_against
from shared.monitoring.profile import profile
from shared.monitoring.quality import Rejected
from shared.monitoring.sinks import deliver
from shared.monitoring.watch import Found, Tables, Watched, look
from shared.registry import models, tracking
from shared.report import html
from shared.report import monitoring as page

PROFILES, DRIFTS = "ops_churn_profile_metrics", "ops_churn_drift_metrics"
PERFORMANCES, ALERTS = "ops_churn_performance_metrics", "ops_churn_alerts"
_DOCUMENT = "monitoring"


@dataclass(frozen=True)
class Standing:
    """The champion, what is known of it, and the trend of the ingestions."""

    champion: models.Registered
    watched: Watched
    found: Found
    rejected: list[Rejected]


def monitor(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Measure drift, performance and quality of what is new, raise alerts, and write the monitoring page.

    Raises:
        DataError: an alert is new and ``monitoring.fail_on_alert`` is set.
    """
    standing = stand(spark, config, run_id)
    found, champion = standing.found, standing.champion
    fired = _raise(spark, config, standing, run_id)
    path = tracking.local_folder(config) / "reports" / "monitoring.html"
    html.write_text(page.render(_page(standing, config, run_id)), path)
    if config.monitoring.sinks.textfile:
        text = metrics.exposition(MODEL, _figures(standing, config))
        metrics.write_textfile(Path(config.monitoring.sinks.textfile), text)
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


def condition(spark: SparkSession, config: ChurnConfig, run_id: str) -> Condition:
    """Bring monitoring up to date and say how the champion stands in the newest windows; what retraining decides by."""
    return stand(spark, config, run_id).found.condition


def stand(spark: SparkSession, config: ChurnConfig, run_id: str) -> Standing:
    """Measure what is new and return all that is known of the champion; sends nothing.

    Raises:
        ModelError: there is no champion, or it was not evaluated.
        DataError: there are no features.
    """
    client = tracking.connect(config, MODEL)
    champion = models.find(client, MODEL, models.CHAMPION)
    config = as_trained(tracking.read_document(champion.run, "config"), config)
    warehouse = Warehouse(config.warehouse)
    version = latest_version(spark, warehouse.table(FEATURES))
    rows = read(spark, warehouse.table(FEATURES), version)
    model = models.load(champion)
    watched = _watched(spark, config, champion, model, rows)
    rejected = quality.trend(spark, warehouse.table(QUALITY))
    found = look(
        rows,
        model.transform,
        watched,
        _tables(warehouse),
        config.monitoring,
        window=_window(config, version),
        run_id=run_id,
        is_judged=~F.col(SPLIT).isin("train", "validation") if config.split.by == "customer" else None,
        rejected=rejected,
    )
    return Standing(champion, watched, found, rejected)


def _tables(warehouse: Warehouse) -> Tables:
    return Tables(*(warehouse.table(name) for name in (PROFILES, DRIFTS, PERFORMANCES, ALERTS)))


def _window(config: ChurnConfig, version: int) -> Column:
    if config.shape == "customers":
        return F.lit(f"version-{version:06d}")
    return F.col(SNAPSHOT_DATE).cast("string")


def _watched(
    spark: SparkSession, config: ChurnConfig, champion: models.Registered, model: PipelineModel, rows: DataFrame
) -> Watched:
    """Return what the champion is compared with; learned and stored the first time."""
    evaluation = tracking.read_document(champion.run, "evaluation")
    try:
        document = tracking.read_document(champion.run, _DOCUMENT)
    except ModelError:
        document = _learned(spark, config, champion, model)
        tracking.write_document(champion.run, _DOCUMENT, document)
    return Watched(
        (champion.name, champion.version),
        [ColumnBins.of(values) for values in document["bins"]],
        [history.profile_of(row) for row in document["baseline"]],
        evaluation["test"],
        LABEL,
        PROBABILITY,
        _slices(config, rows),
        document["trained_until"],
    )


def _slices(config: ChurnConfig, rows: DataFrame) -> Mapping[str, Column]:
    return {name: F.col(name) for name in sliced(config, rows)}


def _learned(
    spark: SparkSession, config: ChurnConfig, champion: models.Registered, model: PipelineModel
) -> dict[str, Any]:
    """Return bins and profiles of the rows the champion was trained on, at the version that it was."""
    version = tracking.tables_of(champion.run)[FEATURES].version
    inputs = tracking.read_document(champion.run, "training")["inputs"]
    taught = read(spark, Warehouse(config.warehouse).table(FEATURES), version).where(
        F.col(SPLIT).isin("train", "validation")
    )
    baseline = model.transform(taught.where(F.col(SPLIT) == "train")).cache()
    try:
        bins = learn(baseline, numeric=[*inputs["numeric"], PROBABILITY], categorical=inputs["categorical"])
        profiles = profile(baseline, bins, slices=_slices(config, taught))
    finally:
        baseline.unpersist()
    last = taught.agg(F.max(SNAPSHOT_DATE).cast("string")).collect()[0][0]
    return {
        "features_version": version,
        "trained_until": last,
        "bins": [each.as_dict() for each in bins],
        "baseline": [history.profile_row(each) for each in profiles],
    }


def _raise(spark: SparkSession, config: ChurnConfig, standing: Standing, run_id: str) -> list[Alert]:
    """Send the alerts that were not sent yet, and note them; what was not delivered is sent again the next time."""
    ref, model = Warehouse(config.warehouse).table(ALERTS), standing.watched.model
    sent = {(row["window"], row["kind"], row["subject"]) for row in history.of_model(spark, ref, model)}
    fresh = [each for each in standing.found.alerts if (each.window, each.kind, each.subject) not in sent]
    deliver(fresh, {"vertical": MODEL, "model_version": model[1], "run_id": run_id}, config.monitoring.sinks)
    key = {f"{each.window} {each.kind} {each.subject}" for each in fresh}
    rows = [each.as_dict() for each in fresh]
    history.append(spark, ref, history.ALERTS, rows, model=model, run_id=run_id, key=key)
    return fresh


def _sentence(alert: Alert) -> str:
    return f"{alert.kind}, {alert.subject} ({alert.window}): {alert.reason}"


def _figures(standing: Standing, config: ChurnConfig) -> metrics.Figures:
    found = standing.found
    newest = [
        d
        for d in judged_against(found.drifts, config.monitoring)
        if d.window == found.newest and d.distance is not None
    ]
    inputs = [d for d in newest if d.column != PROBABILITY]
    matured = [p for p in found.performances if p.window in found.watched and p.labelled]
    last = matured[-1] if matured else None
    rows = [p.rows for p in found.profiles if p.window == found.newest and p.slice_key is None]
    return {
        "monitor_last_success_timestamp_seconds": clock.utc_now().timestamp(),
        "monitor_window_timestamp_seconds": _timestamp(found.newest),
        "monitor_window_rows": rows[0] if rows else None,
        "monitor_columns_drifted": len(found.drifted(PROBABILITY)),
        "monitor_drift_distance_max": max((d.distance or 0.0 for d in inputs), default=None),
        "monitor_prediction_drift_distance": next((d.distance for d in newest if d.column == PROBABILITY), None),
        "monitor_null_change_max": max((d.null_change or 0.0 for d in inputs), default=None),
        "monitor_alerts": {kind: len(found.condition.reasons.get(kind, ())) for kind in KINDS},
        "monitor_labelled_ratio": last.labelled_share if last else None,
        "monitor_auc": last.auc if last else None,
        "monitor_brier": last.brier if last else None,
        "monitor_ece": last.ece if last else None,
        "monitor_rows_rejected_ratio": standing.rejected[-1].share if standing.rejected else None,
        "model_version": standing.watched.model[1],
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
