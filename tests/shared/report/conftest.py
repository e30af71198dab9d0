"""A report as a real churn run gives it, from made-up customers; also what one looks at in a browser."""

import math
import random
from datetime import UTC, datetime

import pytest

from shared.report import figures
from shared.report.html import (
    Confusion,
    FeatureRow,
    Figure,
    Headline,
    MetricRow,
    Model,
    RuleRow,
    RunReport,
    Slice,
    Step,
    TableRow,
)

THRESHOLD, CONTACT, VALUE = 0.2, 10.0, 50.0


def scored(count: int = 4_000) -> list[tuple[float, int]]:
    """Made-up (probability, label), calibrated by construction, highest probability first."""
    drawn = random.Random(7)
    scores = (1 / (1 + math.exp(-drawn.gauss(-1.9, 1.35))) for _ in range(count))
    return sorted(((p, int(drawn.random() < p)) for p in scores), reverse=True)


def plots(rows: list[tuple[float, int]]) -> list[Figure]:
    n, positives = len(rows), sum(label for _, label in rows)
    hits, reached, found = 0, 0, [(0, 0)]
    for _, label in rows:
        hits, reached = hits + label, reached + 1
        if reached % (n // 200) == 0:
            found.append((reached, hits))
    tenth = n // 10
    parts = [rows[k * tenth : (k + 1) * tenth] for k in range(9, -1, -1)]
    bins = [(sum(p for p, _ in part) / tenth, sum(y for _, y in part) / tenth, tenth) for part in parts]
    contacted = [label for p, label in rows if p >= THRESHOLD]
    chosen, earned = len(contacted) / n, sum(contacted) * VALUE - len(contacted) * CONTACT
    pairs = sum(
        (n - positives) - (place - before) for before, place in enumerate(k for k, r in enumerate(rows) if r[1])
    )
    return [
        Figure(
            "Gains",
            figures.gains([(r / n, h / positives) for r, h in found], positives / n, positives="churners"),
            "How many of all churners are found by contacting the riskiest customers first.",
        ),
        Figure(
            "Lift",
            figures.lift([(r / n, h / r * n / positives) for r, h in found[1:]]),
            "Churn among the contacted customers over churn among all.",
        ),
        Figure(
            "Calibration",
            figures.calibration(bins),
            "Each dot is a tenth of the customers. On the dashed line a probability can be taken at its word.",
        ),
        Figure(
            "ROC",
            figures.roc(
                [((r - h) / (n - positives), h / positives) for r, h in found], pairs / positives / (n - positives)
            ),
            "Churners found against loyal customers contacted.",
        ),
        Figure(
            "Precision and recall",
            figures.precision_recall([(h / positives, h / r) for r, h in found[1:]], positives / n),
            "Share of churners among the contacted, by share of churners found.",
        ),
        Figure(
            "Profit by share contacted",
            figures.profit([(r / n, h * VALUE - r * CONTACT) for r, h in found], chosen, earned=earned, currency="€"),
            "The threshold follows from the costs, it was not searched for on these customers.",
            section="decision",
        ),
    ]


FEATURES = [
    FeatureRow("days_since_last_use", 0.612, "compared with 4 days", "more raises the risk"),
    FeatureRow("contract = month-to-month", 0.488, "against two years", "raises the risk"),
    FeatureRow("tenure_days", 0.431, "compared with 312 days", "more lowers the risk"),
    FeatureRow("usage_trend_30d", 0.297, "last 30 days over the 60 before", "more lowers the risk"),
    FeatureRow("payments_failed_90d", 0.241, "compared with 0", "more raises the risk"),
    FeatureRow("support_tickets_90d", 0.187, "compared with 0", "more raises the risk"),
    FeatureRow("monthly_price", 0.162, "compared with 29.90", "more raises the risk"),
    *(FeatureRow(f"usage_hours_{days}d", 0.12 - days / 1000, "", "more lowers the risk") for days in (7, 14, 30, 60)),
    *(FeatureRow(f"share_of_weekday_{day}", 0.03 - day / 500, "compared with 0.143") for day in range(7)),
]


@pytest.fixture(scope="module")
def realistic() -> RunReport:
    return build()


def build() -> RunReport:
    rows = scored()
    drawn = plots(rows)
    contacted = [label for p, label in rows if p >= THRESHOLD]
    hits, missed = sum(contacted), sum(label for p, label in rows if p < THRESHOLD)
    misses = len(contacted) - hits
    profit = hits * VALUE - len(contacted) * CONTACT
    return RunReport(
        title="Which customers are about to leave?",
        subtitle="Customer churn",
        question="Whose subscription will end 7 to 37 days from now, why, and whom is it worth to contact?",
        run_id="20261123T150334Z-82ab60",
        created_ts=datetime(2026, 11, 23, 15, 3, tzinfo=UTC),
        source="subscriptions, usage, payments and support of 52,310 customers",
        model=Model("churn", 3, "champion"),
        headlines=[
            Headline("Churners found in the riskiest fifth", "53%", "20% would be found at random"),
            Headline("Lift in the riskiest tenth", "3.4×", "over contacting at random"),
            Headline("ROC AUC on unseen customers", "0.808", "0.792 to 0.824; at best 0.825"),
            Headline("Expected profit", f"€{profit:,.0f}", f"from contacting {len(contacted):,} of 4,000"),
        ],
        summary=[
            "The model ranks customers nearly as well as is possible with this data: it reaches 95% of the way from "
            "guessing to the ceiling. Its probabilities can be taken at their word, so the decision may follow from "
            "money: contacting pays from a probability of 20%.",
            "Most of what it knows comes from falling use and from contracts that can be ended every month.",
        ],
        metrics=[
            MetricRow("auc", 0.8082, 0.7921, 0.8239, 0.5, 0.8251, "higher", "a churner outranks a customer who stays"),
            MetricRow("pr_auc", 0.5412, 0.5088, 0.5731, 0.204, 0.566, "higher", "average precision of all thresholds"),
            MetricRow("log_loss", 0.3987, 0.3841, 0.4133, 0.5061, 0.389, "lower", "surprise per customer, in nats"),
            MetricRow("brier", 0.1266, 0.1212, 0.1321, 0.1624, 0.1231, "lower", "squared error of the probability"),
            MetricRow("ece", 0.01105, meaning="distance of predicted and observed rate", better="lower"),
            MetricRow(
                "lift_at_10pct", 3.355, 3.101, 3.604, 1.0, 3.46, "higher", "churn in the riskiest tenth over all"
            ),
        ],
        candidates={
            "logistic regression on splines": {"auc": 0.8094, "log_loss": 0.4012, "brier": 0.1273, "ece": 0.0097},
            "random forest": {"auc": 0.8051, "log_loss": 0.4066, "brier": 0.1289, "ece": 0.0143},
            "boosted trees": {"auc": 0.8088, "log_loss": 0.4019, "brier": 0.1275, "ece": 0.0151},
            "mean of the three": {"auc": 0.8121, "log_loss": 0.3981, "brier": 0.1263, "ece": 0.0112},
        },
        chosen="mean of the three",
        figures=drawn,
        decision=[
            "A contact costs €10, a saved customer is worth €200, and an offer keeps 25% of those who would leave: "
            "contacting pays from a probability of 20%.",
            "Measure it: leave a random part of the selected customers uncontacted. A score says who leaves, not whom "
            "an offer changes.",
        ],
        confusion=Confusion(
            *(THRESHOLD, hits, misses, missed, len(rows) - len(contacted) - missed),
            earned=hits * (VALUE - CONTACT),
            spent=-misses * CONTACT,
            missed=missed * (VALUE - CONTACT),
            currency="€",
            positive="churned",
            negative="stayed",
            selected="Contact",
            left="Leave alone",
        ),
        actions=[
            "Contact the 1,465 current customers marked contact in gold_churn_scores, with the three reasons at hand.",
            "Hold back a random tenth of them, to learn what the offer changes.",
            "Look at customers who pay by mailed check: the model predicts 5.6 points less churn than was seen.",
            "Run again when a month of new outcomes is known.",
        ],
        features=FEATURES,
        dropped={
            "phone_service": "constant: every row has yes",
            "total_charges": "correlation 0.998 with tenure_days × monthly_price",
            "favourite_colour": "carries less than a column of noise",
        },
        slices=[
            Slice("contract", "month-to-month", 2_207, 0.3121, 0.3084, 0.774),
            Slice("contract", "one year", 961, 0.0957, 0.1012, 0.748),
            Slice("contract", "two years", 832, 0.0433, 0.0398, 0.731),
            Slice("payment", "card", 1_784, 0.1519, 0.1604, 0.812),
            Slice("payment", "bank transfer", 1_402, 0.1683, 0.1741, 0.805),
            Slice("payment", "mailed check", 814, 0.3821, 0.3264, 0.781),
            Slice("segment", "business", 12, 0.0, 0.0712, None),
        ],
        notes=[
            "36,112 customers to fit on, 8,034 to choose and calibrate on, 4,000 to evaluate on.",
            "1,207 snapshots left out, because their outcome was not known when the next part begins.",
            "4,164 customers to score, whose outcome nobody knows yet.",
        ],
        tables=[
            TableRow("silver_churn_customers", 52_310, 4, "warehouse/silver_churn_customers"),
            TableRow("silver_churn_usage", 8_412_077, 4, "warehouse/silver_churn_usage"),
            TableRow("gold_churn_features", 49_353, 7, "warehouse/gold_churn_features"),
            TableRow("gold_churn_scores", 4_164, 12, "warehouse/gold_churn_scores"),
        ],
        quality=[
            RuleRow("in_range", "amount", 214_077, 38, "error", "silver_churn_payments", ("-12.50", "-0.01", "1e9")),
            RuleRow("in_set", "plan", 52_310, 211, "warning", "silver_churn_customers", ("Premum", "basic ", "null")),
            *(
                RuleRow("not_null", column, 52_310, 0, table="silver_churn_customers")
                for column in ("customer_id", "signup_date", "plan", "country")
            ),
        ],
        steps=[
            Step("ingest", 12.4, 8_781_404, "38 rows quarantined"),
            Step("features", 31.9, 49_353, "41 features at 6 snapshot dates"),
            Step("train", 118.2, 36_112, "3 candidates and their mean"),
            Step("evaluate", 9.1, 4_000),
            Step("score-batch", 4.8, 4_164),
        ],
        config="seed: 7\ncosts:\n  contact: 10.0\n  value_saved: 200.0\n  success_rate: 0.25\nlabel:\n  gap_days: 7\n"
        "  observation_days: 180\n  outcome_days: 30\n",
    )
