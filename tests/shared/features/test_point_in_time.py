"""The join is checked row by row against a loop, and its rules of ties, nulls and age by hand."""

import random
from datetime import date, datetime, timedelta

import pytest
from pyspark.sql import DataFrame, SparkSession

from shared.core.errors import ConfigError, DataError
from shared.features.point_in_time import as_of_join, utc_date

DAY_0 = datetime(2024, 1, 1)
LEFT = "customer_id string, event_ts timestamp, event_id int"
RIGHT = "customer_id string, valid_ts timestamp, plan string, price double"
NAMES = {"entity": "customer_id", "left_ts": "event_ts", "right_ts": "valid_ts"}

Update = tuple[str | None, datetime | None, str | None, float | None]


def at(hours: float) -> datetime:
    return DAY_0 + timedelta(hours=hours)


def known(events: DataFrame, updates: DataFrame, **options: object) -> list[tuple[object, ...]]:
    found = as_of_join(events, updates, columns=["plan", "price"], **NAMES, **options)  # type: ignore[arg-type]
    return [tuple(row)[2:] for row in found.orderBy("event_id").collect()]


@pytest.mark.parametrize("is_same_instant_seen", [False, True])
@pytest.mark.parametrize("ttl_days", [None, 1.0])
def test_every_row_equals_brute_force(spark: SparkSession, is_same_instant_seen: bool, ttl_days: float | None) -> None:
    draw = random.Random(5)
    hours = [draw.choice([None, *range(0, 100, 4)]) for _ in range(240)]  # coarse, so that instants coincide
    moments = [None if hour is None else at(hour) for hour in hours]
    customers = ["a", "b", "c", "never_updated", None]
    events = [(draw.choice(customers), ts, number) for number, ts in enumerate(moments[:120])]
    updates: list[Update] = [
        (draw.choice(["a", "b", "c", None]), ts, draw.choice(["x", "y", None]), draw.choice([1.0, 2.0, None]))
        for ts in moments[120:]
    ]

    found = known(
        spark.createDataFrame(events, LEFT),
        spark.createDataFrame(updates, RIGHT).repartition(3),
        is_same_instant_seen=is_same_instant_seen,
        ttl_days=ttl_days,
    )

    def expected(customer: str | None, ts: datetime | None) -> tuple[object, ...]:
        def is_seen(update_ts: datetime) -> bool:
            if ts is None or update_ts > ts or (update_ts == ts and not is_same_instant_seen):
                return False
            return ttl_days is None or ts - update_ts <= timedelta(days=ttl_days)

        seen = [u for u in updates if customer is not None and u[0] == customer and u[1] is not None and is_seen(u[1])]
        # Nulls are the least; the greatest of the newest instant wins.
        order = [((u[1], u[2] is not None, u[2] or "", u[3] is not None, u[3] or 0.0), u) for u in seen]
        newest = max(order, key=lambda pair: pair[0])[1] if order else None
        return (newest[2], newest[3], newest[1]) if newest else (None, None, None)

    assert found == [(number, *expected(customer, ts)) for customer, ts, number in events]
    assert sum(row[3] is not None for row in found) > 30


def test_a_null_in_the_newest_update_hides_the_older_value(spark: SparkSession) -> None:
    events = spark.createDataFrame([("a", at(48), 0)], LEFT)
    updates = spark.createDataFrame([("a", at(1), "basic", 9.0), ("a", at(2), "basic", None)], RIGHT)

    assert known(events, updates) == [(0, "basic", None, at(2))]


def test_an_update_at_the_very_instant_is_unseen_unless_asked_for(spark: SparkSession) -> None:
    events = spark.createDataFrame([("a", at(5), 0), ("a", at(5) + timedelta(microseconds=1), 1)], LEFT)
    updates = spark.createDataFrame([("a", at(5), "new", 1.0), ("a", at(1), "old", 1.0)], RIGHT)

    assert [row[1] for row in known(events, updates)] == ["old", "new"]
    assert [row[1] for row in known(events, updates, is_same_instant_seen=True)] == ["new", "new"]


def test_an_update_is_forgotten_once_older_than_its_time_to_live(spark: SparkSession) -> None:
    events = spark.createDataFrame([("a", at(24), 0), ("a", at(24) + timedelta(microseconds=1), 1)], LEFT)
    updates = spark.createDataFrame([("a", at(0), "basic", 1.0)], RIGHT)

    assert known(events, updates, ttl_days=1) == [(0, "basic", 1.0, at(0)), (1, None, None, None)]


def test_of_updates_at_one_instant_the_one_created_last_wins(spark: SparkSession) -> None:
    events = spark.createDataFrame([("a", at(9), 0)], LEFT)
    updates = spark.createDataFrame(
        [("a", at(1), "z", 1.0, at(2)), ("a", at(1), "corrected", 1.0, at(3)), ("a", at(1), "zz", 1.0, None)],
        f"{RIGHT}, created_ts timestamp",
    )

    assert known(events, updates, created_ts="created_ts")[0][1] == "corrected"
    assert known(events, updates)[0][1] == "zz"


def test_a_date_is_its_first_moment_and_several_columns_may_be_the_entity(spark: SparkSession) -> None:
    events = spark.createDataFrame(
        [("a", "home", date(2024, 1, 2)), ("a", "work", date(2024, 1, 2))],
        "customer_id string, line string, on_date date",
    )
    updates = spark.createDataFrame(
        [("a", "home", datetime(2024, 1, 1, 23), 1), ("a", "home", datetime(2024, 1, 2), 2)],
        "customer_id string, line string, ts timestamp, limit int",
    )

    found = as_of_join(
        events, updates, entity=["customer_id", "line"], left_ts="on_date", right_ts="ts", columns=["limit"]
    )

    assert {row["line"]: row["limit"] for row in found.collect()} == {"home": 1, "work": None}


def test_columns_that_are_missing_or_twice_and_times_that_are_text_are_refused(spark: SparkSession) -> None:
    events = spark.createDataFrame([("a", at(1), 0)], LEFT)
    updates = spark.createDataFrame([("a", at(1), "x", 1.0)], RIGHT)

    with pytest.raises(ConfigError, match="Did you mean 'price'"):
        as_of_join(events, updates, columns=["prices"], **NAMES)
    with pytest.raises(ConfigError, match=r"Both sides have \['plan'\]"):
        as_of_join(events.selectExpr("*", "'x' AS plan"), updates, columns=["plan"], **NAMES)
    with pytest.raises(DataError, match="TIME_INVALID"):
        as_of_join(
            events, updates.selectExpr("customer_id", "string(valid_ts) AS valid_ts", "plan"), columns=["plan"], **NAMES
        )


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_a_moment_is_of_its_utc_day_and_a_date_is_itself_whatever_the_time_zone_of_the_session(
    spark: SparkSession, zone: str
) -> None:
    moments = spark.sql(
        "SELECT timestamp_seconds(1704850200) AS late, timestamp_seconds(1704895200) AS noon, "
        "timestamp_seconds(-1) AS before, DATE'2024-01-10' AS day, TIMESTAMP_NTZ'2024-01-10 23:59:59' AS plain, "
        "CAST(NULL AS TIMESTAMP) AS none"
    )
    spark.conf.set("spark.sql.session.timeZone", zone)
    try:
        found = moments.select(*(utc_date(moments, name).alias(name) for name in moments.columns)).first()
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")

    tenth = date(2024, 1, 10)
    assert tuple(found) == (tenth, tenth, date(1969, 12, 31), tenth, tenth, None)
