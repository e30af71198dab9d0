"""Which windows are looked at, and what a whole history of them gives: without Spark, profiles made by hand."""

import itertools
from datetime import date, timedelta

import pytest

from shared.core.errors import ConfigError
from shared.monitoring import drift
from shared.monitoring.bins import ColumnBins
from shared.monitoring.history import ModelKey
from shared.monitoring.profile import Profile
from shared.monitoring.quality import Rejected
from shared.monitoring.settings import MonitoringConfig
from shared.monitoring.watch import Found, Watched, check_names, judge, spaced

SETTINGS = MonitoringConfig()
BINS = [ColumnBins("x", "numeric", edges=(1.0, 2.0, 3.0))]
BEFORE, AFTER = (500, 500, 500, 500), (200, 500, 500, 800)
TRAINED, STEP = date(2024, 12, 4), date(2025, 9, 1)


def snapshots(as_of: date) -> list[str]:
    """What features make on a day: snapshots every 30 days, back from that day."""
    return [(as_of - timedelta(days=30 * back)).isoformat() for back in range(10)]


def of(window: str, counts: tuple[int, ...]) -> Profile:
    return Profile(window, None, None, "x", sum(counts), 0, counts, 2.0, 1.0)


def monitored(days: list[date]) -> Found:
    """Look once on each of the days; rows of snapshots from the step on are shifted."""
    profiles: dict[str, list[Profile]] = {}
    baseline = [of("all", BEFORE)]
    for day in days:
        for name in spaced(snapshots(day), profiles, every_days=30, after=TRAINED.isoformat()):
            profiles[name] = [of(name, AFTER if date.fromisoformat(name) >= STEP else BEFORE)]
    drifts = [each for name in profiles for each in drift.of_window(name, profiles, baseline, BINS, SETTINGS)]
    watched = Watched(ModelKey("m", 1, "r"), BINS, baseline, {}, "y", "p", watched_after=TRAINED.isoformat())
    return judge([p for each in profiles.values() for p in each], drifts, {}, watched, SETTINGS)


def daily(first: date, count: int, every: int = 1) -> list[date]:
    return [first + timedelta(days=place) for place in range(0, count, every)]


def test_features_of_ten_following_days_give_windows_that_do_not_overlap() -> None:
    found = monitored(daily(date(2025, 8, 1), 10))

    days = [date.fromisoformat(name) for name in found.windows]
    assert days == [date.fromisoformat(name) for name in sorted(snapshots(date(2025, 8, 1)))]


@pytest.mark.parametrize("every", [1, 7, 10])
def test_a_step_is_found_however_often_one_looks(every: int) -> None:
    found = monitored(daily(date(2025, 6, 3), 200, every))

    days = [date.fromisoformat(name) for name in found.windows]
    assert min(later - earlier for earlier, later in itertools.pairwise(days)) >= timedelta(days=30)
    (alert,) = found.alerts
    assert (alert.kind, alert.subject) == ("inputs", "x")
    assert date.fromisoformat(alert.window) - STEP < timedelta(days=2 * (30 + every))


def test_windows_that_overlap_the_last_that_taught_are_left_out() -> None:
    there = ["2024-11-02", "2024-12-02", "2025-01-01"]

    assert spaced(there, [], every_days=30, after="2024-12-01") == ["2024-11-02", "2025-01-01"]
    assert spaced(there, [], every_days=30, after="2024-12-02") == there
    assert spaced(["version-000003"], ["version-000001"], every_days=None, after=None) == ["version-000003"]


def test_what_ingestions_put_aside_is_judged_with_the_newest_window() -> None:
    trend = [Rejected(date(2025, 1, day), 10_000, bad) for day, bad in ((1, 100), (2, 400), (3, 400))]
    watched = Watched(ModelKey("m", 1, "r"), BINS, [], {}, "y", "p")

    found = judge([of("2025-01-01", BEFORE)], [], {}, watched, SETTINGS, rejected=trend)

    assert found.condition.data_broken
    assert [(v.kind, v.subject) for v in found.violations] == [("data", "ingestion")]
    assert not judge([of("2025-01-01", BEFORE)], [], {}, watched, SETTINGS, rejected=trend[:1]).condition.data_broken


def test_a_name_in_may_change_that_is_not_watched_is_refused() -> None:
    typo = SETTINGS.model_copy(update={"may_change": ("x", "xx", "b")})

    with pytest.raises(ConfigError, match=r"\[MAY_CHANGE_UNKNOWN\] .*'b', 'xx'.* \['x'\]"):
        check_names(typo, BINS)
    check_names(SETTINGS.model_copy(update={"may_change": ("x",)}), BINS)
