"""Window features are checked event by event against a few lines of plain Python, and at each boundary by hand."""

import random
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from statistics import median

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.errors import ConfigError, DataError
from shared.features.windows import WindowFeature, aggregate_as_of, gap_features, ratio

Event = tuple[str | None, datetime | None, float | None, bool | None]
EVENTS = "customer_id string, event_ts timestamp, amount double, is_failed boolean"
SNAPSHOTS = "customer_id string, snapshot_date date"
EPOCH = date(1970, 1, 1)

FEATURES = [
    WindowFeature("n", "count"),
    WindowFeature("n_7", "count", days=7),
    WindowFeature("failed_30", "count", days=30, where={"is_failed": True}),
    WindowFeature("amount", "sum", "amount"),
    WindowFeature("amount_7", "sum", "amount", days=7),
    WindowFeature("amount_mean_30", "mean", "amount", days=30),
    WindowFeature("amount_max_30", "max", "amount", days=30),
    WindowFeature("days_30", "distinct_days", days=30),
    WindowFeature("failed_days", "distinct_days", where={"is_failed": (True, None)}),
    WindowFeature("recency", "days_since_last"),
    WindowFeature("tenure", "days_since_first"),
    WindowFeature("failed_recency_30", "days_since_last", days=30, where={"is_failed": True}),
]
KEYS = {"entity": "customer_id", "event_ts": "event_ts"}


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2024, 1, 1, hour, minute) + timedelta(days=day)


def on(day: int) -> date:
    return date(2024, 1, 1) + timedelta(days=day)


def random_facts(seed: int) -> tuple[list[Event], list[tuple[str, date]]]:
    draw = random.Random(seed)
    customers = [f"c{number}" for number in range(8)]
    events: list[Event] = [
        (
            draw.choice([*customers[:6], None]),
            # Midnights and last minutes often, so that boundaries are met.
            draw.choice([at(draw.randrange(60)), at(draw.randrange(60), 23, 59), at(draw.randrange(60), 12), None]),
            draw.choice([None, float(draw.randrange(-5, 20))]),
            draw.choice([True, False, None]),
        )
        for _ in range(250)
    ]
    snapshots = [(customer, on(day)) for customer in customers for day in draw.sample(range(70), 3)]
    return events, snapshots


def brute_force(events: Sequence[Event], customer: str, snapshot: date) -> dict[str, object]:
    def seen(days: int | None = None, kept: Callable[[bool | None], bool] = lambda _: True) -> list[Event]:
        start = datetime.min if days is None else datetime.combine(snapshot - timedelta(days=days), datetime.min.time())
        end = datetime.combine(snapshot, datetime.min.time())
        return [e for e in events if e[0] == customer and e[1] is not None and start <= e[1] < end and kept(e[3])]

    def amounts(days: int | None = None) -> list[float]:
        return [amount for _, _, amount, _ in seen(days) if amount is not None]

    def ages(rows: list[Event]) -> list[int]:
        return [(snapshot - ts.date()).days for _, ts, _, _ in rows if ts is not None]

    everything = seen()
    of_30 = amounts(30)
    return {
        "n": len(everything),
        "n_7": len(seen(7)),
        "failed_30": len(seen(30, lambda flag: flag is True)),
        "amount": sum(amounts(), 0.0),
        "amount_7": sum(amounts(7), 0.0),
        "amount_mean_30": sum(of_30) / len(of_30) if of_30 else None,
        "amount_max_30": max(of_30, default=None),
        "days_30": len(set(ages(seen(30)))),
        "failed_days": len(set(ages(seen(kept=lambda flag: flag is not False)))),
        "recency": min(ages(everything), default=None),
        "tenure": max(ages(everything), default=None),
        "failed_recency_30": min(ages(seen(30, lambda flag: flag is True)), default=None),
    }


@pytest.fixture(scope="module")
def facts(spark: SparkSession) -> tuple[list[Event], list[tuple[str, date]], DataFrame, DataFrame]:
    events, snapshots = random_facts(seed=7)
    return (
        events,
        snapshots,
        spark.createDataFrame(events, EVENTS).repartition(3),
        spark.createDataFrame(snapshots * 2, SNAPSHOTS),  # twice: each must come back once
    )


def test_every_aggregate_equals_brute_force(
    facts: tuple[list[Event], list[tuple[str, date]], DataFrame, DataFrame],
) -> None:
    events, snapshots, event_rows, snapshot_rows = facts

    found = aggregate_as_of(event_rows, snapshot_rows, FEATURES, **KEYS).collect()

    assert len(found) == len(snapshots)
    for row in found:
        values = row.asDict()
        customer, snapshot = values.pop("customer_id"), values.pop("snapshot_date")
        assert values == pytest.approx(brute_force(events, customer, snapshot)), (customer, snapshot)
    assert any(row["n"] == 0 for row in found)
    assert any(row["n_7"] > 3 for row in found)


@pytest.mark.parametrize("window", [None, 15, 1])
def test_gaps_equal_brute_force(
    facts: tuple[list[Event], list[tuple[str, date]], DataFrame, DataFrame], window: int | None
) -> None:
    events, snapshots, event_rows, snapshot_rows = facts

    gap_rows = gap_features(event_rows, snapshot_rows, **KEYS, days=window).collect()
    found = {tuple(row)[:2]: tuple(row)[2:] for row in gap_rows}

    assert set(found) == set(snapshots)
    for customer, snapshot in snapshots:
        begin = date.min if window is None else snapshot - timedelta(days=window)
        days = sorted({e[1].date() for e in events if e[0] == customer and e[1] and begin <= e[1].date() < snapshot})
        gaps = [(later - day).days for day, later in pairwise(days)]
        expected = (len(gaps), median(gaps), max(gaps), gaps[-1], gaps[-1] / median(gaps)) if gaps else (0, *[None] * 4)
        assert found[customer, snapshot] == pytest.approx(expected), (customer, snapshot)


def test_an_event_counts_from_the_first_moment_of_the_window_to_the_last_moment_before_the_snapshot(
    spark: SparkSession,
) -> None:
    moments = {
        "before": at(2, 23, 59),
        "first": at(3),
        "last": at(9, 23, 59) + timedelta(seconds=59, microseconds=999_999),
        "on_the_day": at(10),
    }
    events = spark.createDataFrame([(name, ts, 1.0, True) for name, ts in moments.items()], EVENTS)
    snapshots = spark.createDataFrame([(name, on(10)) for name in moments], SNAPSHOTS)
    features = [WindowFeature("n_7", "count", days=7), WindowFeature("recency", "days_since_last", days=7)]

    found = aggregate_as_of(events, snapshots, features, **KEYS)

    expected = [("before", 0, None), ("first", 1, 7), ("last", 1, 1), ("on_the_day", 0, None)]
    assert sorted(tuple(row)[::1][0:1] + tuple(row)[2:] for row in found.collect()) == expected


def test_days_are_utc_days_whatever_the_time_zone_of_the_session(spark: SparkSession) -> None:
    # 01:30 UTC on 10 January is still the 9th in New York: a session there must not see an event of the snapshot day.
    events = spark.sql("SELECT 'a' AS customer_id, timestamp_seconds(1704850200) AS event_ts")
    snapshots = spark.sql(
        "SELECT 'a' AS customer_id, explode(array(DATE'2024-01-10', DATE'2024-01-11')) AS snapshot_date"
    )
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        found = aggregate_as_of(events, snapshots, [WindowFeature("n", "count")], **KEYS).orderBy("snapshot_date")
        assert [row["n"] for row in found.collect()] == [0, 1]
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")


def test_dates_and_timestamps_before_1970_count_as_days_too(spark: SparkSession) -> None:
    snapshots = spark.createDataFrame([("a", EPOCH)], SNAPSHOTS)
    feature = [WindowFeature("recency", "days_since_last")]
    dated = spark.createDataFrame([("a", date(1969, 12, 30))], "customer_id string, event_ts date")
    timed = spark.createDataFrame([("a", datetime(1969, 12, 30, 1))], "customer_id string, event_ts timestamp")
    zoneless = spark.createDataFrame([("a", datetime(1969, 12, 30, 1))], "customer_id string, event_ts timestamp_ntz")

    for events in (dated, timed, zoneless):
        assert aggregate_as_of(events, snapshots, feature, **KEYS).first()["recency"] == 2


def test_all_features_cost_one_shuffle_of_the_events(
    facts: tuple[list[Event], list[tuple[str, date]], DataFrame, DataFrame], capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, event_rows, snapshot_rows = facts
    events, snapshots = (
        rows.sparkSession.createDataFrame(rows.collect(), rows.schema) for rows in (event_rows, snapshot_rows)
    )

    aggregate_as_of(events, snapshots, FEATURES, **KEYS).explain()

    assert capsys.readouterr().out.count("Exchange hashpartitioning") == 2  # one of each side


def test_texts_are_a_line_each_oldest_day_first(spark: SparkSession) -> None:
    written = [
        ("a", at(9, 8), "late"),
        ("a", at(5, 9), "second"),
        ("a", at(5, 7), "and first"),
        ("a", at(1), "too old"),
    ]
    events = spark.createDataFrame(
        [*written, ("a", at(7), None)], "customer_id string, event_ts timestamp, text string"
    )
    snapshots = spark.createDataFrame([("a", on(10)), ("b", on(10))], SNAPSHOTS)

    found = aggregate_as_of(events, snapshots, [WindowFeature("said", "texts", "text", days=7)], **KEYS)

    assert {row["customer_id"]: row["said"] for row in found.collect()} == {"a": "and first\nsecond\nlate", "b": ""}


def test_trends_are_null_rather_than_an_error(spark: SparkSession) -> None:
    windows = spark.createDataFrame(
        [(6, 3), (0, 4), (5, 0), (None, 2), (2, None), (None, None)], "recent int, earlier int"
    )

    found = windows.select(ratio(F.col("recent"), F.col("earlier")).alias("ratio"))

    expected = [(2.0,), (0.0,), (None,), (None,), (None,), (None,)]
    assert_df_equality(found, spark.createDataFrame(expected, "ratio double"))


@pytest.mark.parametrize(
    "declare",
    [
        lambda: WindowFeature("amount", "sum"),
        lambda: WindowFeature("n", "count", "amount"),
        lambda: WindowFeature("n", "count", days=0),
    ],
)
def test_a_feature_that_cannot_be_computed_is_refused_where_it_is_declared(declare: Callable[[], object]) -> None:
    with pytest.raises(ConfigError, match="WINDOW_INVALID"):
        declare()


def test_unknown_columns_and_times_that_are_text_are_refused_with_a_hint(spark: SparkSession) -> None:
    events = spark.createDataFrame([("a", "2024-01-01", 1.0)], "customer_id string, event_ts string, amount double")
    snapshots = spark.createDataFrame([("a", on(0))], SNAPSHOTS)

    with pytest.raises(ConfigError, match="Did you mean 'amount'"):
        aggregate_as_of(events, snapshots, [WindowFeature("total", "sum", "amonut")], **KEYS)
    with pytest.raises(ConfigError, match="each name once"):
        aggregate_as_of(events, snapshots, [WindowFeature("n", "count"), WindowFeature("n", "count", days=7)], **KEYS)
    with pytest.raises(DataError, match="TIME_INVALID"):
        aggregate_as_of(events, snapshots, [WindowFeature("n", "count")], **KEYS)
