"""A report as a churn run gives it, from made-up customers; also what one looks at in a browser.

`tests/churn/test_report.py` holds it against the report of a real run: both fill the same fields.
"""

import math
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.evaluation.thresholds import Costs
from shared.report import binary, searching
from shared.report.html import FeatureRow, Headline, Model, RunReport, TableRow

COSTS = Costs(contact=10.0, value_saved=200.0, success_rate=0.25)
MEANINGS = {
    "auc": "chance that a churner outranks a customer who stays",
    "pr_auc": "average precision over all thresholds",
    "log_loss": "surprise per row, in nats",
    "brier": "mean squared error of the probability",
    "ece": "mean distance of predicted and observed rate, ten bins",
    "lift_at_10pct": "churn among the riskiest tenth over churn among all",
}


def scored(count: int = 4_000) -> list[tuple[float, int]]:
    """Made-up (probability, label), calibrated by construction, highest probability first."""
    drawn = random.Random(7)
    scores = (1 / (1 + math.exp(-drawn.gauss(-1.9, 1.35))) for _ in range(count))
    return sorted(((p, int(drawn.random() < p)) for p in scores), reverse=True)


def evaluation() -> dict[str, Any]:
    """The document that an evaluation of `scored` stores; its metrics are stated, not computed."""
    rows = scored()
    n, positives = len(rows), sum(label for _, label in rows)
    points, hits = [], 0
    for reached, (probability, label) in enumerate(rows, start=1):
        hits += label
        if reached % (n // 200) == 0:
            points.append([probability, hits, reached - hits])
    tenth = n // 10
    parts = [rows[k * tenth : (k + 1) * tenth] for k in range(9, -1, -1)]
    selected = [label for p, label in rows if p >= COSTS.threshold]
    true, false = sum(selected), len(selected) - sum(selected)
    metrics = {"auc": 0.8082, "pr_auc": 0.5412, "log_loss": 0.3987, "brier": 0.1266, "lift_at_10pct": 3.355}
    return {
        "test": {
            **metrics,
            **{f"{name}_ci": [0.97 * value, 1.03 * value] for name, value in metrics.items()},
            **{"ece": 0.01105, "ece_by_chance": 0.0125, "rows": n, "positives": positives},
        },
        "baseline": {
            "auc": 0.5,
            "pr_auc": 0.204,
            "log_loss": 0.5061,
            "brier": 0.1624,
            "ece": 0.0,
            "lift_at_10pct": 1.0,
        },
        "ceiling": {
            "auc": 0.8251,
            "pr_auc": 0.566,
            "log_loss": 0.389,
            "brier": 0.1231,
            "ece": 0.01,
            "lift_at_10pct": 3.5,
        },
        "points": points,
        "calibration": [[sum(p for p, _ in part) / tenth, sum(y for _, y in part) / tenth, tenth] for part in parts],
        "confusion": {"threshold": COSTS.threshold, "true_positives": true, "false_positives": false},
        "slices": {
            "plan": [
                {"slice": "basic", "rows": 2_207, "observed": 0.3121, "predicted": 0.3084, "auc": 0.774},
                {"slice": "standard", "rows": 961, "observed": 0.0957, "predicted": 0.1012, "auc": 0.748},
                {"slice": "premium", "rows": 832, "observed": 0.1433, "predicted": 0.0798, "auc": 0.731},
            ],
            "segment": [{"slice": "business", "rows": 12, "observed": 0.0, "predicted": 0.0712, "auc": None}],
        },
    }


FEATURES = [
    FeatureRow("minutes_trend", 0.612, "compared with 0.9479", "more lowers the risk"),
    FeatureRow("plan", 0.488, "compared with basic", "premium lowers the risk"),
    FeatureRow("days_since_use", 0.431, "compared with 7", "more raises the risk"),
    FeatureRow("failed_90", 0.241, "compared with 0", "more raises the risk"),
    FeatureRow("monthly_price", 0.162, "compared with 29.9"),
    *(FeatureRow(f"use_days_{days}", 0.12 - days / 1000, "compared with 3") for days in (7, 14, 30, 60)),
    *(FeatureRow(f"share_of_weekday_{day}", 0.03 - day / 500, "compared with 0.143") for day in range(7)),
]


@pytest.fixture(scope="module")
def realistic() -> RunReport:
    return build()


def tuning() -> dict[str, Any]:
    """The document that a search stores: a simple trial within one standard error of the best, and many others."""
    losses = [0.4112, 0.4105, 0.4301, 0.4098, 0.4131, 0.4187, 0.4202, 0.4499]
    trials = [
        {
            "number": number,
            "setting": {"logistic_penalty": 0.002 * 2**number, "knots": 9 - number},
            **{"mean": loss, "standard_error": 0.0042, "seconds": 3.2 + number / 10},
        }
        for number, loss in enumerate(losses)
    ]
    limits = {"stopped": "nothing gained in 4 trials", "resumed": 3, "seconds": 27.0}
    return {
        "metric": "log_loss",
        "method": "optuna",
        "folds": {"by": "time", "held_out": ["2024-05-01", "2024-05-31", "2024-06-30"]},
        "searches": {"logistic": {"trials": trials, "best": 3, "chosen": 4, **limits}},
    }


def build() -> RunReport:
    document = evaluation()
    decided = binary.decided_at(document, COSTS)
    selected = decided.true_positives + decided.false_positives
    return RunReport(
        title="Which subscribers are about to leave?",
        subtitle="Customer churn",
        question="Whose service will end 30 to 60 days from now, why, and whom is it worth to contact?",
        run_id="20261123T150334Z-82ab60",
        created_ts=datetime(2026, 11, 23, 15, 3, tzinfo=UTC),
        source="52,310 made-up customers, whose truth is known",
        model=Model("churn", 3, "champion"),
        headlines=[
            Headline("AUC on the test rows", "0.808", "0.792 to 0.824; at best 0.825"),
            Headline("Lift in the riskiest tenth", "3.4×", "over contacting at random"),
            Headline("Churn rate", "20.4%", "of 4,000 test rows"),
            Headline("Expected profit", "12,345", f"from contacting {selected:,} test rows"),
            Headline("Calibration error", "0.011", "0.013 by chance alone on so few rows"),
        ],
        summary=[
            "The riskiest fifth of the test rows holds 53% of those who leave; a random fifth would hold 20%. In "
            "ranking, that is 95% of the way from chance to the best that is possible here.",
            "What it goes by most: minutes_trend, plan, days_since_use.",
        ],
        metrics=binary.metrics(document, MEANINGS),
        metrics_note="On the 4,000 test rows of 2025-03-26 to 2025-04-25, which nothing was fitted or chosen on.",
        candidates={
            name: dict(zip(MEANINGS, values, strict=True))
            for name, values in {
                "logistic regression": (0.8094, 0.5391, 0.4012, 0.1273, 0.0097, 3.301),
                "boosted trees": (0.8088, 0.5377, 0.4019, 0.1275, 0.0151, 3.322),
                "mean of the others": (0.8121, 0.5433, 0.3981, 0.1263, 0.0112, 3.361),
            }.items()
        },
        chosen="mean of the others",
        searches=searching.tables(tuning(), {"logistic": "logistic regression"}),
        searches_note=searching.note(tuning(), group="customer"),
        figures=binary.plots(document, decided, COSTS, positives="churners"),
        decision=[
            "A contact costs 10, a saved customer is worth 200, and an offer keeps 25% of those who would leave: "
            "contacting pays from a probability of 20.0%.",
            f"Of the test rows that selects {selected:,}, 42% of whom leave; it finds 70% of all who leave.",
        ],
        confusion=binary.confusion(decided, COSTS, positive="leaves", negative="stays"),
        actions=[
            "Contact the 1,465 customers marked contact in gold_churn_scores, with their reasons at hand.",
            "Look at plan = premium: 6.4 points less churn is predicted than was seen.",
            "Run again from 2025-08-23: by then it is known who of the customers of 2025-06-24 left.",
        ],
        features=FEATURES,
        features_note="Importance is the mean change of the log-odds when a feature is put at its usual value.",
        dropped={
            "phone_service": "the same value in every training row",
            "total_charges": "pearson correlation 0.9981 with tenure_months",
        },
        slices=binary.slices(document),
        notes=["A row is a customer on a snapshot day.", "36,112 rows of 2024-03-31 to 2024-10-27 to fit on."],
        tables=[
            TableRow("silver_churn_customers", 52_310, 4),
            TableRow("silver_churn_usage", 8_412_077, 4),
            TableRow("gold_churn_features", 49_353, 7),
            TableRow("gold_churn_scores", 4_164, 12),
        ],
        quality=[
            _rule("silver_churn_payments", "in_range", "amount", 214_077, 38, "error", ["-12.50", "-0.01", "1e9"]),
            _rule("silver_churn_customers", "in_set", "plan", 52_310, 211, "warning", ["Premum", "basic ", "null"]),
            *(
                _rule("silver_churn_customers", "not_null", column, 52_310, 0, "error", [])
                for column in ("customer_id", "signup_date", "plan", "country")
            ),
        ],
        config="seed: 7\ncosts:\n  contact: 10.0\n  value_saved: 200.0\n  success_rate: 0.25\n",
    )


def _rule(
    table: str, rule: str, column: str, checked: int, failed: int, severity: str, examples: list[str]
) -> dict[str, Any]:
    """A row of the stored quality table, with a column that the report does not show."""
    return {
        **{"table": table, "rule": rule, "column": column, "checked": checked, "failed": failed},
        **{"severity": severity, "examples": examples, "scope": "rows"},
    }
