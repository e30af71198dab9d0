"""Events for the tests of `score-stream`, about customers of the embedded data, which ends before `END`."""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from churn.sample import START_DATE
from churn.schema import EVENT_LOG
from churn.score_stream import SCORES, STRAYS
from shared.core.columns import INGEST_ID, INGESTED_TS, SOURCE_FILE
from shared.delta.digest import digest
from shared.delta.read import read
from shared.delta.tables import Warehouse, exists
from shared.ingest.pipeline import names

END = START_DATE + timedelta(days=540)
Event = Mapping[str, Any]


def at(days: int, hour: int = 9) -> str:
    """Return a time so many days after the end of the embedded data."""
    return (datetime.combine(END, datetime.min.time(), UTC) + timedelta(days=days, hours=hour)).isoformat()


def used(customer: str, days: int, minutes: float = 30.5) -> Event:
    row = {"customer_id": customer, "event_ts": at(days), "sessions": 1, "minutes": minutes}
    return {"table": "usage", **row}


def paid(payment: str, customer: str, days: int, *, failed: bool = True) -> Event:
    row = {"payment_id": payment, "customer_id": customer, "event_ts": at(days), "amount": 9.5, "is_failed": failed}
    return {"table": "payments", **row}


def asked(ticket: str, customer: str, days: int, severity: object = 2) -> Event:
    """Return a request for help; half of them without a text."""
    row = {"ticket_id": ticket, "customer_id": customer, "event_ts": at(days), "severity": severity, "channel": "chat"}
    text = {"message": "I want my money back."} if int(ticket[1:]) % 2 else {}
    return {"table": "support", **row, **text}


def contract(customer: str, days: int, until: int | None = None) -> Event:
    """Return a contract that begins so many days after the end of the embedded data, and ends when it is known."""
    begin, end = (None if each is None else (END + timedelta(days=each)).isoformat() for each in (days, until))
    row = {"subscription_id": f"s-{customer}", "customer_id": customer, "start_date": begin, "end_date": end}
    return {"table": "subscriptions", **row, "plan": "basic", "monthly_price": 9.0}


def joined(customer: str, days: int) -> Sequence[Event]:
    """Return a new customer and their contract."""
    day = (END + timedelta(days=days)).isoformat()
    person = {"customer_id": customer, "signup_date": day, "segment": "consumer", "region": "north", "age_band": "60+"}
    return [contract(customer, days), {"table": "customers", **person}]


def lines(events: Sequence[Event | str]) -> list[str]:
    return [event if isinstance(event, str) else json.dumps(event) for event in events]


def put(folder: Path, name: str, events: Sequence[Event | str]) -> None:
    """Make a file appear in the folder whole."""
    folder.mkdir(exist_ok=True)
    draft = folder.parent / f"{name}.draft"
    draft.write_text("".join(f"{line}\n" for line in lines(events)))
    # Files are taken in the order of their times, which two in one tick would share.
    order = 1_700_000_000 + len(list(folder.iterdir()))
    os.utime(draft, (order, order))
    draft.rename(folder / name)


def at_risk(spark: SparkSession, warehouse: Warehouse, count: int) -> list[str]:
    """Return customers that `score-batch` scored."""
    rows = read(spark, warehouse.table("gold_churn_scores")).select("customer_id").orderBy("customer_id")
    return [row[0] for row in rows.limit(count).collect()]


def scores(spark: SparkSession, warehouse: Warehouse) -> dict[tuple[str, date], float]:
    """Return the newest probability of each customer and day of the stream's scores."""
    rows = read(spark, warehouse.table(SCORES)).orderBy("batch_id").collect()
    return {(row["customer_id"], row["snapshot_date"]): row["probability"] for row in rows}


def contents(spark: SparkSession, warehouse: Warehouse) -> dict[str, str]:
    """Return the digest of every table that a stream writes, without who wrote it, when, and from which file."""
    tables = [warehouse.table(name) for table in EVENT_LOG for name in names(table)]
    tables += [warehouse.table(STRAYS), warehouse.table(SCORES)]
    left_out = (INGEST_ID, INGESTED_TS, SOURCE_FILE, "stream_id", "scored_ts")
    return {table.label: digest(read(spark, table).drop(*left_out)) for table in tables if exists(spark, table)}


def reasons_of(spark: SparkSession, warehouse: Warehouse) -> dict[str, list[str]]:
    """Return why each text was put aside, by the rules it broke."""
    tables = [warehouse.table(names(table)[2]) for table in EVENT_LOG] + [warehouse.table(STRAYS)]
    found: dict[str, list[str]] = {}
    for table in tables:
        if exists(spark, table):
            rows = read(spark, table).where(F.col(INGEST_ID).contains(":"))
            found |= {row["_raw"]: [failure["rule"] for failure in row["_failures"]] for row in rows.collect()}
    return found
