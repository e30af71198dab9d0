"""One look at a model: what is new is computed and kept, the rest is looked up, and all of it is judged.

Nothing of a window is computed again, whatever becomes of its rows later; only performance is, as labels mature.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.errors import ConfigError, did_you_mean
from shared.core.parallel import in_parallel
from shared.delta.tables import TableRef
from shared.monitoring import alerts, drift, history, performance
from shared.monitoring.alerts import Alert, Condition, Kind, Violation
from shared.monitoring.bins import ColumnBins
from shared.monitoring.drift import Drift
from shared.monitoring.history import ModelKey
from shared.monitoring.performance import Performance
from shared.monitoring.profile import Profile, profile
from shared.monitoring.quality import Rejected
from shared.monitoring.settings import MonitoringConfig


@dataclass(frozen=True)
class Tables:
    """Where monitoring keeps what it found."""

    profiles: TableRef
    drifts: TableRef
    performances: TableRef
    alerts: TableRef


@dataclass(frozen=True)
class Watched:
    """A model that is watched: what it is compared with, and by which columns.

    Args:
        model: the model.
        bins: bins of its inputs and of its prediction.
        baseline: profiles of its training rows.
        test: ``auc, rows, positives`` of the evaluation.
        label, prediction: the columns.
        slices: name → value of a row.
        watched_after: windows up to this one taught the model, so their performance means nothing and nothing fires; None
            for none.
        kept: slice → its values that are profiled, as `frequent` found them in the training rows; all others are one.
    """

    model: ModelKey
    bins: Sequence[ColumnBins]
    baseline: Sequence[Profile]
    test: Mapping[str, Any]
    label: str
    prediction: str
    slices: Mapping[str, Column] = field(default_factory=dict)
    watched_after: str | None = None
    kept: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What there is to say of a model.

    Args:
        windows: every window, ascending; ``new`` of them were computed now, ``watched`` may fire.
        profiles, drifts, performances: of all windows.
        violations, alerts: of the watched windows.
        condition: what holds in the newest windows.
    """

    windows: Sequence[str]
    new: Sequence[str]
    watched: Sequence[str]
    profiles: Sequence[Profile]
    drifts: Sequence[Drift]
    performances: Sequence[Performance]
    violations: Sequence[Violation]
    alerts: Sequence[Alert]
    condition: Condition

    @property
    def newest(self) -> str | None:
        """The newest window."""
        return self.windows[-1] if self.windows else None

    def drifted(self, prediction: str) -> list[str]:
        """Return the columns that violate in the newest window, without the prediction."""
        kinds = ("inputs", "data")
        return sorted(
            v.subject
            for v in self.violations
            if v.window == self.newest and v.kind in kinds and v.subject != prediction
        )


def look(
    rows: DataFrame,
    score: Callable[[DataFrame], DataFrame],
    watched: Watched,
    tables: Tables,
    settings: MonitoringConfig,
    *,
    window: Column,
    run_id: str,
    every_days: int | None = None,
    is_judged: Column | None = None,
    rejected: Sequence[Rejected] = (),
) -> Found:
    """Bring the tables up to date with ``rows`` and return all that is known.

    Args:
        rows: the feature table, all windows.
        score: adds the prediction.
        watched: the model.
        tables: where to keep it.
        settings: what violates and what fires.
        window: the window of a row, as text that sorts by time.
        run_id: of this run.
        every_days: where windows are days: those that lie nearer to one that is known, or to the last that taught the
            model, are left out, since a table whose days move along every day would else be a new window every day.
        is_judged: rows whose label may count for performance; None for all. In tables split by customer, not those that
            taught the model.
        rejected: what was put aside, oldest first.

    Raises:
        ConfigError: as of `check_names`.
    """
    check_names(settings, watched.bins)
    spark = rows.sparkSession
    dated = rows.withColumn("_window", window)
    label = F.col(watched.label) if is_judged is None else F.when(is_judged, F.col(watched.label))
    refs = (tables.profiles, tables.drifts, tables.performances)
    reads: list[Callable[[], Any]] = [partial(history.of_model, spark, ref, watched.model) for ref in refs]
    reads.append(dated.groupBy("_window").agg(F.count(label).alias("labelled")).collect)
    held_profiles, held_drifts, held_performances, there = in_parallel(spark, reads)
    profiles = [history.profile_of(row) for row in history.first_of(held_profiles)]
    drifts = [history.drift_of(row) for row in history.first_of(held_drifts)]
    performances = {row["window"]: _performance_of(row) for row in held_performances}  # the last one written counts
    labelled = {row["_window"]: row["labelled"] for row in there}
    apart = partial(spaced, every_days=every_days, after=watched.watched_after)
    new = apart(labelled, {each.window for each in profiles})
    # Apart of their own: the day of which labels come in may be another one than was profiled.
    ripened = {w for w, each in performances.items() if each.labelled}
    ripe = {*ripened, *apart({w for w, n in labelled.items() if n}, ripened)}
    riper = {w for w in new if not labelled[w] and w not in performances}
    riper |= {w for w in ripe & set(labelled) if w not in performances or labelled[w] > performances[w].labelled}
    fresh_profiles, fresh_performances = _measure(
        dated.withColumn("_label", label), score, watched, settings, new=new, riper=sorted(riper)
    )
    profiles += fresh_profiles
    performances |= {each.window: each for each in fresh_performances}
    fresh_drifts = _drifts(profiles, {each.window for each in drifts}, watched, settings)
    _keep(spark, tables, watched.model, run_id, fresh_profiles, fresh_drifts, fresh_performances)
    return judge(profiles, [*drifts, *fresh_drifts], performances, watched, settings, new=new, rejected=rejected)


def check_names(settings: MonitoringConfig, bins: Sequence[ColumnBins]) -> None:
    """Refuse names of columns that are not watched: to let them change has no effect.

    Raises:
        ConfigError: MAY_CHANGE_UNKNOWN.
    """
    known = sorted(each.name for each in bins)
    if unknown := sorted(set(settings.may_change) - set(known)):
        raise ConfigError(
            "MAY_CHANGE_UNKNOWN",
            f"monitoring.may_change names columns that are not watched: {unknown}.",
            f"Some of {known}.",
            did_you_mean(unknown[0], known),
        )


def spaced(there: Collection[str], known: Collection[str], *, every_days: int | None, after: str | None) -> list[str]:
    """Return those windows that are new and overlap no other: at least ``every_days`` from each other and those known.

    Args:
        there: windows of the rows.
        known: windows that were looked at before.
        every_days: length of a window; None takes all that are new, which then need not be days.
        after: the last window that taught the model, where that is known; those that overlap it from above are left out.

    >>> spaced({"2025-01-01", "2025-01-31", "2025-02-01"}, {"2025-01-02"}, every_days=30, after=None)
    ['2025-02-01']
    """
    new = sorted(set(there) - set(known))
    if every_days is None:
        return new
    length, taken = timedelta(days=every_days), [date.fromisoformat(name) for name in known]
    taught = date.fromisoformat(after) if after else None
    found = []
    for name in new:
        day = date.fromisoformat(name)
        is_taught = taught is not None and taught < day < taught + length
        if not is_taught and all(abs(day - other) >= length for other in taken):
            taken.append(day)
            found.append(name)
    return found


def judge(
    profiles: Sequence[Profile],
    drifts: Sequence[Drift],
    performances: Mapping[str, Performance],
    watched: Watched,
    settings: MonitoringConfig,
    *,
    new: Sequence[str] = (),
    rejected: Sequence[Rejected] = (),
) -> Found:
    """Return violations, alerts and condition of what is known; pure."""
    windows = sorted({each.window for each in profiles})
    after, measured = (
        [w for w in names if watched.watched_after is None or w > watched.watched_after]
        for names in (windows, sorted(performances))
    )
    judged = drift.judged_against(drifts, settings)
    found = [v for v in alerts.violations(judged, watched.prediction) if v.window in after]
    matured = [w for w in measured if performances[w].labelled]
    for name in matured:
        if words := performance.loss(performances[name], dict(watched.test), settings):
            found.append(Violation(name, "performance", "model", words))
    if after and rejected and (words := rejected[-1].rise(rejected[:-1], settings)):
        found.append(Violation(after[-1], "data", "ingestion", words))
    of_kind: dict[Kind, list[str]] = {**dict.fromkeys(alerts.KINDS, after), "performance": matured}
    return Found(
        windows,
        new,
        sorted({*after, *measured}),
        profiles,
        drifts,
        [performances[name] for name in sorted(performances)],
        found,
        alerts.raised(found, of_kind, settings),
        alerts.condition(found, of_kind, settings),
    )


def _measure(
    rows: DataFrame,
    score: Callable[[DataFrame], DataFrame],
    watched: Watched,
    settings: MonitoringConfig,
    *,
    new: Sequence[str],
    riper: Sequence[str],
) -> tuple[list[Profile], list[Performance]]:
    """Score the rows of the windows that need it, once, and measure them."""
    wanted = sorted({*new, *riper})
    if not wanted:
        return [], []
    scored = score(rows.where(F.col("_window").isin(wanted))).cache()
    work: list[Callable[[], Any]] = [
        partial(
            profile,
            scored.where(F.col("_window").isin(list(new))),
            watched.bins,
            window=F.col("_window"),
            slices=limited(watched.slices, watched.kept),
        )
        if new
        else list,
        partial(
            performance.by_window,
            scored.where(F.col("_window").isin(list(riper))),
            window="_window",
            label="_label",
            probability=watched.prediction,
        )
        if riper
        else list,
    ]
    try:
        profiles, performances = in_parallel(rows.sparkSession, work)
    finally:
        scored.unpersist()
    return profiles, performances


def frequent(rows: DataFrame, slices: Mapping[str, Column], count: int) -> dict[str, list[str]]:
    """Return the ``count`` most frequent values of each slice; of equally frequent ones the first by name."""
    found = {}
    for name, value in slices.items():
        known = rows.select(value.cast("string").alias("v")).where("v IS NOT NULL")
        most = known.groupBy("v").count().orderBy(F.desc("count"), "v").limit(count).collect()
        found[name] = [row["v"] for row in most]
    return found


def limited(slices: Mapping[str, Column], kept: Mapping[str, Sequence[str]]) -> dict[str, Column]:
    """Return the slices with the values ``kept`` and null; every other value is ``(other)``."""
    texts = {name: value.cast("string") for name, value in slices.items()}
    return {
        name: F.when(text.isNull() | text.isin(list(kept[name])), text).otherwise("(other)")
        for name, text in texts.items()
    }


def _drifts(profiles: Sequence[Profile], done: set[str], watched: Watched, settings: MonitoringConfig) -> list[Drift]:
    by_window: dict[str, list[Profile]] = {}
    for each in profiles:
        by_window.setdefault(each.window, []).append(each)
    return [
        found
        for name in sorted(set(by_window) - done)
        for found in drift.of_window(name, by_window, watched.baseline, watched.bins, settings)
    ]


def _keep(
    spark: SparkSession,
    tables: Tables,
    model: ModelKey,
    run_id: str,
    profiles: Sequence[Profile],
    drifts: Sequence[Drift],
    performances: Sequence[Performance],
) -> None:
    """Append what is new. Profiles first: drift of a window without them would be left out for good."""
    store = partial(history.append, spark, model=model, run_id=run_id)
    rows = [history.profile_row(each) for each in profiles]
    store(tables.profiles, history.PROFILE, rows, key={each.window for each in profiles})
    judged = [_performance_row(each) for each in performances]
    work: list[Callable[[], Any]] = [
        partial(
            store,
            tables.drifts,
            history.DRIFT,
            [history.drift_row(each) for each in drifts],
            key={each.window for each in drifts},
        ),
        partial(
            store,
            tables.performances,
            history.PERFORMANCE,
            judged,
            key={f"{each.window} {each.labelled}" for each in performances},
        ),
    ]
    in_parallel(spark, work)


_PERFORMANCE_NAMES = {
    "rows": "count",
    "labelled": "labelled_count",
    "observed": "observed_rate",
    "predicted": "predicted_rate",
}


def _performance_row(found: Performance) -> dict[str, Any]:
    values = {_PERFORMANCE_NAMES.get(name, name): value for name, value in found.as_dict().items()}
    return {**values, "labelled_share": found.labelled_share}


def _performance_of(row: Mapping[str, Any]) -> Performance:
    return Performance(**{name: row[_PERFORMANCE_NAMES.get(name, name)] for name in Performance.__dataclass_fields__})
