"""The tables of churn: columns, types, units, keys and checks, in plain Python.

`CUSTOMERS` and `TELCO` are two shapes of one table, `silver_churn_customers`: a warehouse holds one of them, the shape
of its source. Every event table keeps its time in `event_ts` (UTC), so labels and features treat them alike. Delta
takes a CHECK that is null for a broken one, so a check on a nullable column says what null means.
"""

from collections.abc import Mapping
from dataclasses import replace

from shared.core.columns import Column, Table

# Columns of the snapshots that `churn.algorithms.labels` builds.
CUSTOMER_ID = "customer_id"
EVENT_TS = "event_ts"
SNAPSHOT_DATE = "snapshot_date"
OUTCOME_START_DATE = "outcome_start_date"
OUTCOME_END_DATE = "outcome_end_date"
LABEL = "label"

PLANS = ("basic", "standard", "premium")
REGIONS = ("north", "east", "south", "west")
AGE_BANDS = ("18-29", "30-44", "45-59", "60+")
CHANNELS = ("chat", "email", "phone")


def _in(name: str, values: tuple[str, ...]) -> str:
    return f"{name} IN ({', '.join(repr(value) for value in values)})"


def _customer_id() -> Column:
    return Column(
        CUSTOMER_ID, "string", "the customer", nullable=False, check="length(trim(customer_id)) > 0", pii=True
    )


def _event_ts(description: str) -> Column:
    return Column(EVENT_TS, "timestamp", description, nullable=False, unit="UTC")


CUSTOMERS = Table(
    "silver_churn_customers",
    (
        _customer_id(),
        Column("signup_date", "date", "first day as a customer", nullable=False),
        Column("segment", "string", "consumer or business, as typed"),
        Column("region", "string", "sales region, as typed"),
        Column("age_band", "string", "age of the account holder, in years", pii=True),
    ),
    key=(CUSTOMER_ID,),
    change_feed=True,
    description="One row per customer who ever signed up.",
)

SUBSCRIPTIONS = Table(
    "silver_churn_subscriptions",
    (
        Column("subscription_id", "string", "one contract period at one price", nullable=False),
        _customer_id(),
        Column("start_date", "date", "first day in service", nullable=False),
        Column(
            "end_date",
            "date",
            "first day out of service; null while it runs",
            check="end_date IS NULL OR end_date > start_date",
        ),
        Column("plan", "string", "tariff", nullable=False, check=_in("plan", PLANS)),
        Column("monthly_price", "double", "price agreed for the period", False, "USD per month", "monthly_price >= 0"),
    ),
    key=("subscription_id",),
    cluster_by=(CUSTOMER_ID,),
    change_feed=True,
    description="Contract periods; a change of price or plan ends one row and starts the next on the same day.",
)

USAGE = Table(
    "silver_churn_usage",
    (
        _customer_id(),
        _event_ts("start of the first session of the day"),
        Column("sessions", "int", "sessions that day", nullable=False, check="sessions >= 1"),
        Column("minutes", "double", "time in use that day", nullable=False, unit="minutes", check="minutes >= 0"),
    ),
    cluster_by=(CUSTOMER_ID, EVENT_TS),
    change_feed=True,
    description="Days on which a customer used the service.",
)

PAYMENTS = Table(
    "silver_churn_payments",
    (
        Column("payment_id", "string", "one attempt to collect", nullable=False),
        _customer_id(),
        _event_ts("time of the attempt"),
        Column("amount", "double", "amount due", nullable=False, unit="USD", check="amount >= 0"),
        Column("is_failed", "boolean", "the bank refused the attempt", nullable=False),
    ),
    key=("payment_id",),
    cluster_by=(CUSTOMER_ID, EVENT_TS),
    change_feed=True,
    description="Monthly payments, collected or refused.",
)

SUPPORT = Table(
    "silver_churn_support",
    (
        Column("ticket_id", "string", "one request for help", nullable=False),
        _customer_id(),
        _event_ts("time the ticket was opened"),
        Column("severity", "int", "1 is a question, 4 an outage", False, check="severity BETWEEN 1 AND 4"),
        Column(
            "channel", "string", "way the customer got in touch", check=f"channel IS NULL OR {_in('channel', CHANNELS)}"
        ),
        Column("message", "string", "what the customer wrote; null when nobody took a note", pii=True),
    ),
    key=("ticket_id",),
    cluster_by=(CUSTOMER_ID, EVENT_TS),
    change_feed=True,
    description="Support tickets by the time they were opened.",
)

PURCHASES = Table(
    "silver_churn_purchases",
    (
        _customer_id(),
        _event_ts("day of the purchase, at midnight"),
        Column("quantity", "int", "units bought", nullable=False, unit="units", check="quantity >= 0"),
        Column("amount", "double", "value of the purchase; 0 for a free item", False, "USD", "amount >= 0"),
    ),
    cluster_by=(CUSTOMER_ID, EVENT_TS),
    change_feed=True,
    description="Purchases without a contract; a customer may buy the same for the same price twice a day, so no key.",
)


def _service(name: str, description: str) -> Column:
    return Column(name, "string", f"{description}: Yes, No, or that the line it needs is missing")


TELCO = Table(
    "silver_churn_customers",
    (
        _customer_id(),
        Column("gender", "string", "Female or Male", pii=True),
        Column("is_senior", "int", "1 for 65 years and older", check="is_senior IS NULL OR is_senior IN (0, 1)"),
        Column("has_partner", "string", "Yes or No"),
        Column("has_dependents", "string", "Yes or No"),
        Column("tenure_months", "int", "months as a customer", False, "months", "tenure_months >= 0"),
        Column("has_phone_service", "string", "Yes or No"),
        _service("multiple_lines", "more than one phone line"),
        Column("internet_service", "string", "DSL, Fiber optic or No"),
        _service("online_security", "online security"),
        _service("online_backup", "online backup"),
        _service("device_protection", "device protection"),
        _service("tech_support", "premium support"),
        _service("streaming_tv", "television over the line"),
        _service("streaming_movies", "films over the line"),
        Column("contract", "string", "Month-to-month, One year or Two year"),
        Column("has_paperless_billing", "string", "Yes or No"),
        Column("payment_method", "string", "how the bill is paid"),
        Column("monthly_charges", "double", "charge of the last month", False, "USD per month", "monthly_charges >= 0"),
        Column("total_charges", "double", "charges so far; blank in the file before the first bill", True, "USD"),
        # No check: a label with other values must reach the training step, which explains what is wrong with it.
        Column("churn", "string", "Yes when the customer left within the last month; the label"),
    ),
    key=(CUSTOMER_ID,),
    change_feed=True,
    description="IBM Telco Customer Churn: one row per customer with a label and no dates.",
)

TELCO_COLUMNS: dict[str, str] = {
    "customerID": CUSTOMER_ID,
    "gender": "gender",
    "SeniorCitizen": "is_senior",
    "Partner": "has_partner",
    "Dependents": "has_dependents",
    "tenure": "tenure_months",
    "PhoneService": "has_phone_service",
    "MultipleLines": "multiple_lines",
    "InternetService": "internet_service",
    "OnlineSecurity": "online_security",
    "OnlineBackup": "online_backup",
    "DeviceProtection": "device_protection",
    "TechSupport": "tech_support",
    "StreamingTV": "streaming_tv",
    "StreamingMovies": "streaming_movies",
    "Contract": "contract",
    "PaperlessBilling": "has_paperless_billing",
    "PaymentMethod": "payment_method",
    "MonthlyCharges": "monthly_charges",
    "TotalCharges": "total_charges",
    "Churn": "churn",
}
"""Names in the publisher's Telco file, in file order, to ours."""

CDNOW_COLUMNS: dict[str, str] = {
    "customer_id": CUSTOMER_ID,
    "date": EVENT_TS,
    "number_of_cds": "quantity",
    "dollar_value": "amount",
}
"""Names in the header of the publisher's CDNOW master file, in file order, to ours; `date` is yyyyMMdd."""

EVENT_LOG: tuple[Table, ...] = (CUSTOMERS, SUBSCRIPTIONS, USAGE, PAYMENTS, SUPPORT)
"""What a subscription business delivers, and what `churn.sample` generates, in the order of ingestion."""

STREAM_DECISIONS = "ops_churn_stream"
"""Table of what each batch of `score-stream` decided; where it is, a stream feeds silver and quarantine."""


def own_customers(columns: Mapping[str, str]) -> Table:
    """Return the declaration of one's own table: one row a customer, with ``columns`` (name → type) beside its id."""
    described = [Column(name, kind, "as in the source") for name, kind in columns.items()]
    return replace(TELCO, columns=(_customer_id(), *described), description="One row per customer, with a label.")


def own_purchases(columns: Mapping[str, str]) -> Table:
    """Return the declaration of one's own event log: customer, time, and ``columns`` (name → type).

    Values may be missing or negative: a return is an event too.
    """
    values = [Column(name, kind, "as in the source") for name, kind in columns.items()]
    described = (_customer_id(), _event_ts("time of the event"), *values)
    return replace(PURCHASES, columns=described, description="Events of customers; silence is churn.")


SHAPES: dict[str, tuple[Table, ...]] = {"customers": (TELCO,), "purchases": (PURCHASES,), "subscriptions": EVENT_LOG}
"""The tables of each shape of source, in the order of ingestion."""
