"""Features are worked out by hand and by brute force, and nothing outside the observation window changes them."""

import random
import statistics
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from churn import schema
from churn.config import ChurnConfig, LabelConfig, layers
from churn.features import of_purchases, of_subscriptions, of_telco, snapshot_days, split_starts
from churn.schema import EVENT_LOG, PAYMENTS, PURCHASES, SUBSCRIPTIONS, SUPPORT, TELCO, USAGE
from shared.core.columns import Table
from shared.core.errors import DataError
from shared.features.words import WordsConfig

SNAPSHOTS = "customer_id string, snapshot_date date"
WORDS = WordsConfig()
LABEL = LabelConfig(observation_days=60, gap_days=10, outcome_days=20)


def on(day: int) -> date:
    return date(2024, 1, 1) + timedelta(days=day)


def at(day: int, hour: int = 12) -> datetime:
    return datetime(2024, 1, 1, hour) + timedelta(days=day)


def asked(spark: SparkSession, *snapshots: tuple[str, int]) -> DataFrame:
    return spark.createDataFrame([(customer, on(day)) for customer, day in snapshots], SNAPSHOTS)


def rows_of(spark: SparkSession, table: Table, rows: list[tuple[Any, ...]]) -> DataFrame:
    return spark.createDataFrame(rows, table.ddl())


def by_customer(features: DataFrame) -> dict[tuple[str, date], dict[str, Any]]:
    found = [row.asDict() for row in features.collect()]
    return {(row.pop("customer_id"), row.pop("snapshot_date")): row for row in found}


def expected_of(purchases: list[tuple[str, datetime, int, float]], customer: str, snapshot: date) -> dict[str, Any]:
    """The features of one buyer in plain Python, with an observation window of 60 days."""

    def seen(days: int) -> list[tuple[str, datetime, int, float]]:
        first = snapshot - timedelta(days=days)
        return [p for p in purchases if p[0] == customer and first <= p[1].date() < snapshot]

    whole, far, near = seen(60), seen(30), seen(15)
    days = sorted({p[1].date() for p in whole})
    gaps = [(later - day).days for day, later in pairwise(days)]
    middle = statistics.median(gaps) if gaps else None
    recency = (snapshot - days[-1]).days if days else None
    return {
        "days_since_last": recency,
        "days_since_first": (snapshot - days[0]).days if days else None,
        "purchases": len(whole),
        "purchase_days": len(days),
        "amount": sum(p[3] for p in whole),
        "amount_mean": statistics.fmean(p[3] for p in whole) if whole else None,
        "amount_max": max((p[3] for p in whole), default=None),
        "quantity": sum(p[2] for p in whole),
        "purchases_near": len(near),
        "purchases_far": len(far),
        "amount_near": sum(p[3] for p in near),
        "amount_far": sum(p[3] for p in far),
        "purchase_trend": len(near) / len(far) if far else None,
        "gap_count": len(gaps),
        "median_gap_days": middle,
        "max_gap_days": max(gaps, default=None),
        "last_gap_days": gaps[-1] if gaps else None,
        "last_gap_ratio": gaps[-1] / middle if middle else None,
        "gap_ratio": recency / middle if middle and recency else None,
    }


def test_the_features_of_buyers_equal_brute_force(spark: SparkSession) -> None:
    draw = random.Random(3)
    buyers = [f"c{number}" for number in range(6)]
    purchases = [
        (draw.choice(buyers), at(draw.randrange(150), draw.choice([0, 12, 23])), draw.randrange(4), draw.random() * 50)
        for _ in range(120)
    ]
    snapshots = [(buyer, day) for buyer in [*buyers, "silent"] for day in (60, 90, 151)]

    found = by_customer(of_purchases(rows_of(spark, PURCHASES, purchases), asked(spark, *snapshots), LABEL))

    assert set(found) == {(buyer, on(day)) for buyer, day in snapshots}
    for (buyer, snapshot), features in found.items():
        assert features == pytest.approx(expected_of(purchases, buyer, snapshot)), (buyer, snapshot)
    assert max(features["gap_count"] for features in found.values()) > 5


# Everything a subscriber did in the 60 days before day 100, i.e. on days 40 to 99.
INSIDE: dict[str, list[tuple[Any, ...]]] = {
    schema.CUSTOMERS.name: [("a", on(-300), " Business", "", None), ("b", on(70), "consumer", "NORTH ", "18-29")],
    SUBSCRIPTIONS.name: [
        ("a-1", "a", on(-300), on(80), "basic", 10.0),
        ("a-2", "a", on(80), None, "basic", 12.0),
        ("b-1", "b", on(70), on(90), "premium", 50.0),
        ("b-2", "b", on(90), None, "standard", 20.0),
    ],
    USAGE.name: [
        *[("a", at(day), 1, float(day)) for day in (40, 50, 80, 84, 94)],
        ("b", at(99, 23), 2, 7.0),
    ],
    PAYMENTS.name: [
        ("a1", "a", at(41), 10.0, True),
        ("a2", "a", at(75), 10.0, False),
        ("a3", "a", at(99), 12.0, True),
        ("b1", "b", at(75), 50.0, False),
    ],
    SUPPORT.name: [
        ("t1", "a", at(85), 3, "chat", "Still waiting"),
        ("t2", "a", at(45), 1, None, "I waited!"),
        ("t3", "a", at(45), 1, "phone", None),
    ],
}
# The day before the window, the day of the snapshot, and later.
OUTSIDE: dict[str, list[tuple[Any, ...]]] = {
    schema.CUSTOMERS.name: [],
    SUBSCRIPTIONS.name: [("a-3", "a", on(100), None, "premium", 99.0)],
    USAGE.name: [("a", at(day, hour), 1, 1000.0) for day, hour in ((39, 23), (100, 0), (130, 5))],
    PAYMENTS.name: [(f"x{day}", "a", at(day), 10.0, True) for day in (39, 100, 130)],
    SUPPORT.name: [(f"y{day}", "a", at(day), 4, "phone", "Cancel it") for day in (39, 100, 130)],
}


def tables(spark: SparkSession, *parts: Mapping[str, list[tuple[Any, ...]]]) -> dict[str, DataFrame]:
    return {t.name: rows_of(spark, t, [row for part in parts for row in part[t.name]]) for t in EVENT_LOG}


def test_the_features_of_subscribers_are_those_worked_out_by_hand(spark: SparkSession) -> None:
    found = by_customer(of_subscriptions(tables(spark, INSIDE), asked(spark, ("a", 100), ("b", 100)), LABEL, WORDS))

    assert found["a", on(100)].pop("messages_90") == ["wait", "still", "wait"]  # oldest first
    assert found["b", on(100)].pop("messages_90") == []
    assert found["a", on(100)] == pytest.approx(
        {
            **{"days_since_use": 6, "use_days_30": 3, "use_days_90": 5, "minutes_30": 258.0, "minutes_90": 348.0},
            **{"gap_count": 4, "median_gap_days": 10.0, "max_gap_days": 30, "last_gap_days": 10, "last_gap_ratio": 1.0},
            **{"failed_90": 2, "failed_90_basic": 2, "tickets_30": 1, "tickets_90": 3, "severity_90": 3},
            **{"plan": "basic", "monthly_price": 12.0, "contract_days": 400, "raises_90": 1, "tenure_days": 400},
            **{"segment": "business", "region": None, "age_band": None},
            **{"minutes_trend": 258 * 3 / 348, "gap_ratio": 0.6},
        }
    )
    assert found["b", on(100)] == pytest.approx(
        {
            **{"days_since_use": 1, "use_days_30": 1, "use_days_90": 1, "minutes_30": 7.0, "minutes_90": 7.0},
            **{"gap_count": 0, "median_gap_days": None, "max_gap_days": None, "last_gap_days": None},
            **{"last_gap_ratio": None, "gap_ratio": None, "minutes_trend": 3.0},
            **{"failed_90": 0, "failed_90_basic": 0, "tickets_30": 0, "tickets_90": 0, "severity_90": None},
            **{"plan": "standard", "monthly_price": 20.0, "contract_days": 30, "raises_90": 0, "tenure_days": 30},
            **{"segment": "consumer", "region": "north", "age_band": "18-29"},
        }
    )


def test_nothing_outside_the_observation_window_changes_a_subscriber(spark: SparkSession) -> None:
    snapshots = asked(spark, ("a", 100))
    inside, with_outside = (
        of_subscriptions(tables(spark, *parts), snapshots, LABEL, WORDS) for parts in ([INSIDE], [INSIDE, OUTSIDE])
    )

    assert_df_equality(with_outside, inside, ignore_row_order=True)


def test_nothing_outside_the_observation_window_changes_a_buyer(spark: SparkSession) -> None:
    inside = [("a", at(day), 1, 2.0 * day) for day in (40, 55, 99)]
    outside = [("a", at(day, hour), 9, 999.0) for day, hour in ((5, 0), (39, 23), (100, 0), (140, 3))]
    snapshots = asked(spark, ("a", 100))

    alone, together = (
        of_purchases(rows_of(spark, PURCHASES, rows), snapshots, LABEL) for rows in (inside, [*inside, *outside])
    )

    assert_df_equality(together, alone, ignore_row_order=True)


def test_the_charges_of_a_customer_table_are_compared_with_those_so_far(spark: SparkSession) -> None:
    customer = dict.fromkeys(TELCO.names) | {"customer_id": "a", "is_senior": 1, "online_backup": "Yes", "churn": "No"}
    first_month = customer | {"customer_id": "b", "tenure_months": 0, "monthly_charges": 30.0, "tech_support": "Yes"}
    rows = [customer | {"tenure_months": 10, "monthly_charges": 50.0, "total_charges": 400.0}, first_month]
    found = of_telco(rows_of(spark, TELCO, [tuple(row[name] for name in TELCO.names) for row in rows]))

    made = found.select("charge_per_month", "charge_change", "service_count", "is_senior").orderBy("customer_id")
    assert [tuple(row) for row in made.collect()] == [(40.0, 10.0, 1, 1), (None, None, 2, 1)]
    assert "churn" not in found.columns


def test_a_snapshot_with_less_log_before_it_than_the_observation_window_is_left_out() -> None:
    label = LabelConfig(observation_days=60, every_days=30, snapshots=5)

    # Snapshots on days 30, 60, …, 150; the first that has 60 days before it is that of day 60.
    assert snapshot_days(label, on(0), on(150)) == (on(150), tuple(on(day) for day in (60, 90, 120, 150)))
    assert snapshot_days(label, on(1), on(150))[1][0] == on(90)
    with pytest.raises(DataError, match=r"LOG_TOO_SHORT.*60 days before"):
        snapshot_days(label, on(91), on(150))


def test_a_day_after_the_end_of_the_log_is_no_day_to_ask_about() -> None:
    label = LabelConfig(as_of=on(151))

    with pytest.raises(DataError, match=r"AS_OF_AFTER_DATA.*2024-05-31.*newest event is of 2024-05-29"):
        snapshot_days(label, on(0), on(150))
    assert snapshot_days(label, on(0), on(151))[0] == on(151)


def test_the_published_protocol_of_cdnow_keeps_both_its_snapshots() -> None:
    label = ChurnConfig.load(*layers("CDNOW_master.txt")).label

    as_of, days = snapshot_days(label, date(1997, 1, 1), date(1998, 7, 1))

    assert (as_of, days) == (date(1998, 7, 1), (date(1997, 10, 1), date(1998, 7, 1)))


def test_each_part_begins_when_the_outcomes_of_the_one_before_are_known() -> None:
    days = [on(30 * number) for number in range(10)]
    label = LabelConfig(gap_days=30, outcome_days=30)

    # Test: 240 and 270. Known by then: up to 180, of which the last two validate. Known by 150: up to 90.
    assert split_starts(days, 2, 2, label) == (on(240), on(150))
    assert split_starts(days[:6], 1, 1, label) == (on(150), on(90))
    with pytest.raises(DataError, match=r"SNAPSHOTS_TOO_FEW.*5 labelled"):
        split_starts(days[:5], 2, 2, label)
