"""Snapshots are checked day by day against a few lines of plain Python, and at each boundary by hand."""

import random
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from churn.algorithms.labels import (
    LabelCounts,
    LabelWindows,
    Rule,
    Snapshots,
    observed,
    snapshot_dates,
    snapshots,
)
from shared.core.errors import ConfigError, DataError

DAY_0 = date(2024, 1, 1)
WINDOWS = LabelWindows(observation_days=10, gap_days=3, outcome_days=5)
EVENTS = "customer_id string, event_ts timestamp"
CONTRACTS = "customer_id string, start_date date, end_date date"

# On day 20: observed are days 10 to 19, the gap is days 20 to 22, the outcome is days 23 to 27.
SNAPSHOT = 20


def day(number: int) -> date:
    return DAY_0 + timedelta(days=number)


def at(number: int, hour: int = 12) -> datetime:
    return datetime(DAY_0.year, DAY_0.month, DAY_0.day, hour) + timedelta(days=number)


def current(facts: DataFrame, windows: LabelWindows, as_of: date, *, rule: Rule) -> DataFrame:
    """The customers to score today."""
    return snapshots(facts, windows, (as_of,), as_of, rule=rule).candidates


def events(spark: SparkSession, rows: Iterable[tuple[str | None, int]]) -> DataFrame:
    return spark.createDataFrame([(customer, at(number)) for customer, number in rows], EVENTS)


def contracts(spark: SparkSession, rows: Iterable[tuple[str | None, int | None, int | None]]) -> DataFrame:
    dated = [(c, None if s is None else day(s), None if e is None else day(e)) for c, s, e in rows]
    return spark.createDataFrame(dated, CONTRACTS)


def one_snapshot(facts: DataFrame, rule: Rule) -> Snapshots:
    return snapshots(facts, WINDOWS, [day(SNAPSHOT)], day(100), rule=rule)


def labels(found: Snapshots) -> dict[str, int | None]:
    return {row["customer_id"]: row["label"] for row in found.candidates.collect()}


def test_a_snapshot_row_carries_its_customer_its_label_and_its_outcome_window(spark: SparkSession) -> None:
    found = one_snapshot(events(spark, [("stays", 15), ("stays", 25), ("leaves", 15)]), "inactive")

    expected = spark.createDataFrame(
        [("leaves", day(20), 1, day(23), day(28)), ("stays", day(20), 0, day(23), day(28))],
        "customer_id string, snapshot_date date, label int, outcome_start_date date, outcome_end_date date",
    )
    assert_df_equality(found.rows, expected, ignore_row_order=True, ignore_nullable=True)


def test_an_event_counts_on_the_first_day_of_a_window_and_not_on_the_day_after_it(spark: SparkSession) -> None:
    seen = [("before_observation", 9), ("first_observed", 10), ("last_observed", 19), ("on_the_snapshot_day", 20)]
    outcomes = [("in_gap", 22), ("first_outcome", 23), ("last_outcome", 27), ("after_outcome", 28)]
    facts = events(spark, [*seen, *[(name, 15) for name, _ in outcomes], *outcomes])

    assert labels(one_snapshot(facts, "inactive")) == {
        "first_observed": 1,
        "last_observed": 1,
        "in_gap": 1,
        "first_outcome": 0,
        "last_outcome": 0,
        "after_outcome": 1,
    }


def test_an_event_just_before_midnight_belongs_to_its_own_day(spark: SparkSession) -> None:
    rows = [("late", at(19) + timedelta(hours=11, minutes=59, seconds=59)), ("midnight", at(20, hour=0))]

    assert labels(one_snapshot(spark.createDataFrame(rows, EVENTS), "inactive")) == {"late": 1}


def test_a_service_is_judged_by_its_first_day_out(spark: SparkSession) -> None:
    facts = contracts(
        spark,
        [
            ("starts_the_day_before", 19, None),
            ("starts_on_the_snapshot_day", 20, None),
            ("out_on_the_snapshot_day", 0, 20),
            ("out_in_gap", 0, 22),
            ("out_on_first_outcome_day", 0, 23),
            ("out_on_last_outcome_day", 0, 27),
            ("out_after", 0, 28),
        ],
    )

    assert labels(one_snapshot(facts, "ended")) == {
        "starts_the_day_before": 0,
        "out_on_first_outcome_day": 1,
        "out_on_last_outcome_day": 1,
        "out_after": 0,
    }


def test_a_change_of_plan_is_no_churn_and_a_later_return_does_not_undo_it(spark: SparkSession) -> None:
    facts = contracts(
        spark,
        [
            *[("changes_plan", 0, 24), ("changes_plan", 24, None)],
            *[("overlaps", 0, 26), ("overlaps", 5, 8), ("overlaps", 25, 90)],
            *[("returns", 0, 24), ("returns", 25, None)],
        ],
    )

    assert labels(one_snapshot(facts, "ended")) == {"changes_plan": 0, "overlaps": 0, "returns": 1}


def test_facts_without_a_customer_or_a_time_are_ignored(spark: SparkSession) -> None:
    without_time = spark.createDataFrame([("a", None)], EVENTS)

    assert labels(one_snapshot(events(spark, [(None, 15)]).union(without_time), "inactive")) == {}
    assert labels(one_snapshot(contracts(spark, [(None, 0, 24), ("a", None, 24)]), "ended")) == {}


@pytest.mark.parametrize("rule", ["inactive", "ended"])
def test_customers_whose_outcome_is_not_known_are_left_out_and_counted(spark: SparkSession, rule: Rule) -> None:
    facts = (
        events(spark, [("a", 12), ("b", 12), ("a", 16), ("a", 24), ("a", 28)])
        if rule == "inactive"
        else contracts(spark, [("a", 0, None), ("b", 0, 25)])
    )
    found = snapshots(facts, WINDOWS, [day(21), day(20), day(20)], day(28), rule=rule)  # day 21 needs the day 28

    assert {(row["customer_id"], row["snapshot_date"]) for row in found.rows.collect()} == {
        ("a", day(20)),
        ("b", day(20)),
    }
    assert found.counts() == [LabelCounts(day(20), 2, 2, 0, 1), LabelCounts(day(21), 2, 0, 2, 0)]


def test_what_happened_after_the_data_end_is_never_read(spark: SparkSession) -> None:
    """The same facts known ten days later: everything dated after the first as-of date must change nothing."""
    then = [("a", 12), ("b", 14)]
    later = [*then, ("c", 20), ("a", 24)]
    windows, as_of = LabelWindows(10, 0, 5), day(20)

    now_active = current(events(spark, then), windows, as_of, rule="inactive")
    assert_df_equality(
        current(events(spark, later), windows, as_of, rule="inactive"), now_active, ignore_row_order=True
    )
    planned = contracts(spark, [("ends_tomorrow", 0, 21), ("ends_today", 0, 20), ("not_begun", 21, None)])
    assert [row["customer_id"] for row in current(planned, WINDOWS, as_of, rule="ended").collect()] == ["ends_tomorrow"]


def test_customers_to_score_have_no_label(spark: SparkSession) -> None:
    rows = current(events(spark, [("a", 18), ("gone", 2)]), WINDOWS, day(20), rule="inactive").collect()

    assert [tuple(row) for row in rows] == [("a", day(20), None, day(23), day(28))]


def test_a_snapshot_at_which_nobody_is_at_risk_is_counted_as_zero(spark: SparkSession) -> None:
    found = snapshots(events(spark, [("a", 15)]), WINDOWS, [day(5), day(20)], day(100), rule="inactive")

    assert found.counts() == [LabelCounts(day(5), 0, 0, 0, 0), LabelCounts(day(20), 1, 1, 0, 1)]


def test_inactivity_agrees_with_brute_force(spark: SparkSession) -> None:
    draw = random.Random(7)
    rows = [(f"c{draw.randrange(25)}", draw.randrange(60)) for _ in range(150)]
    days, as_of, windows = [8, 15, 30, 44, 52], 55, LabelWindows(7, 2, 6)
    active = {customer: {number for name, number in rows if name == customer} for customer, _ in rows}
    expected = {
        (customer, day(s)): None if s + 8 > as_of else int(not numbers & set(range(s + 2, s + 8)))
        for customer, numbers in active.items()
        for s in days
        if numbers & set(range(s - 7, s))
    }

    found = snapshots(events(spark, rows), windows, [day(s) for s in days], day(as_of), rule="inactive")

    assert {(r["customer_id"], r["snapshot_date"]): r["label"] for r in found.candidates.collect()} == expected


def test_ended_services_agree_with_brute_force_over_days(spark: SparkSession) -> None:
    draw = random.Random(11)
    starts = [(f"c{draw.randrange(30)}", draw.randrange(50)) for _ in range(90)]
    rows = [(c, s, draw.choice([None, s + draw.randrange(1, 25), s + draw.randrange(1, 25)])) for c, s in starts]
    days, as_of, windows = [10, 22, 33, 41, 50], 55, LabelWindows(7, 2, 6)

    def served(customer: str) -> set[int]:
        """Days in service as known on the as-of day, when an end after it is still a plan."""
        spans = [(s, e if e is not None and e <= as_of else 10_000) for c, s, e in rows if c == customer]
        return {number for start, end in spans for number in range(start, min(end, 200))}

    expected = {}
    for customer in {c for c, _, _ in rows}:
        on = served(customer)
        for s in days:
            through_gap = {s - 1, s, s + 1} <= on
            if through_gap:
                expected[customer, day(s)] = None if s + 8 > as_of else int(not set(range(s, s + 8)) <= on)

    found = snapshots(contracts(spark, rows), windows, [day(s) for s in days], day(as_of), rule="ended")

    assert {(r["customer_id"], r["snapshot_date"]): r["label"] for r in found.candidates.collect()} == expected
    assert found.candidates.count() == len(expected)


def test_a_log_is_taken_to_end_after_its_newest_day(spark: SparkSession) -> None:
    assert observed(events(spark, [("a", 3), ("b", 7)])) == (day(3), day(8))
    with pytest.raises(DataError, match="EVENTS_EMPTY"):
        observed(events(spark, []))


@pytest.fixture
def tokyo(spark: SparkSession) -> Iterator[None]:
    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    yield
    spark.conf.set("spark.sql.session.timeZone", before)


@pytest.mark.usefixtures("tokyo")
def test_days_are_utc_days_in_a_session_of_any_zone(spark: SparkSession) -> None:
    # 20:00 UTC is the next day in Tokyo.
    rows = [("seen", at(19, hour=20)), ("too_late", at(20, hour=20)), ("stays", at(15)), ("stays", at(27, hour=20))]
    facts = spark.createDataFrame(rows, EVENTS)
    ends = spark.createDataFrame(
        [("leaves", at(0), at(27, hour=20))], "customer_id string, start_date timestamp, end_date timestamp"
    )

    assert labels(one_snapshot(facts, "inactive")) == {"seen": 1, "stays": 0}
    assert labels(one_snapshot(ends, "ended")) == {"leaves": 1}
    assert observed(facts) == (day(15), day(28))


def test_windows_and_snapshots_that_make_no_sense_are_refused(spark: SparkSession) -> None:
    for lengths in [(0, 3, 5), (10, -1, 5), (10, 3, 0)]:
        with pytest.raises(ConfigError, match="WINDOWS_INVALID"):
            LabelWindows(*lengths)
    with pytest.raises(ConfigError, match="SNAPSHOTS_INVALID"):
        snapshot_dates(day(20), 0, 30)
    for dates in [[], [day(21)]]:
        with pytest.raises(ConfigError, match="SNAPSHOTS_INVALID"):
            snapshots(events(spark, []), WINDOWS, dates, day(20), rule="inactive")
