"""What customers wrote, as a client of the online service would send it."""

from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def messages_of(support: DataFrame, day: date) -> dict[str, str]:
    """Return what each customer wrote in the 90 days before, a line a message: by day, and of one day by alphabet."""
    begin = F.lit(day - timedelta(days=90))
    seen = support.where((F.to_date("event_ts") >= begin) & (F.to_date("event_ts") < F.lit(day)))
    dated = seen.where("message IS NOT NULL").select("customer_id", F.to_date("event_ts").alias("day"), "message")
    texts: dict[str, list[str]] = {}
    for row in sorted(dated.collect()):
        texts.setdefault(row["customer_id"], []).append(row["message"])
    return {customer: "\n".join(found) for customer, found in texts.items()}
