"""The report of the newest evaluated model: what was asked, what came out, and what to do next.

Everything in it is read from tables and from what training and evaluation stored; nothing is computed anew.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from churn import schema
from churn.config import ChurnConfig
from churn.features import FEATURES, SPLIT
from churn.ingest import QUALITY
from churn.score_batch import SCORES
from churn.train import MODEL
from shared.core import clock
from shared.core.run import StepResult
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse, exists
from shared.registry import models, tracking
from shared.report import figures, html
from shared.report.html import Figure, Headline, MetricRow, RunReport

_MEANINGS = {
    "auc": ("higher", "chance that a churner outranks a customer who stays"),
    "pr_auc": ("higher", "average precision over all thresholds"),
    "log_loss": ("lower", "surprise per customer, in nats"),
    "brier": ("lower", "mean squared error of the probability"),
    "ece": ("lower", "mean distance of predicted and observed rate, ten bins"),
    "lift_at_10pct": ("higher", "churn among the riskiest tenth over churn among all"),
}


def report(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Write the report of the challenger that was evaluated last, as one HTML file."""
    client = tracking.connect(config, MODEL)
    model = models.find(client, MODEL, models.CHALLENGER)
    training = tracking.read_document(model.run, "training")
    evaluation = tracking.read_document(model.run, "evaluation")
    warehouse = Warehouse(config.warehouse)
    content = RunReport(
        title="Customer churn",
        question=_question(config),
        run_id=run_id,
        created_ts=clock.utc_now(),
        source=config.source or "embedded data, whose truth is known",
        model=html.Model(model.name, model.version, model.alias),
        headlines=_headlines(evaluation),
        metrics=_metrics(evaluation),
        candidates={name: _shown(values) for name, values in training["validation"].items()},
        chosen=training["chosen"],
        figures=_figures(evaluation),
        features=[html.FeatureRow(name, size, _note(name, training)) for name, size in evaluation["importance"]],
        dropped=training["dropped"],
        slices=_slices(evaluation),
        decision=_decision(evaluation, config),
        confusion=_confusion(evaluation, config),
        quality=_quality(spark, warehouse),
        tables=_tables(spark, config, warehouse),
        notes=_notes(spark, warehouse, evaluation),
        actions=_actions(evaluation, training),
        config=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False),
    )
    path = html.write(content, tracking.local_folder(config) / "reports" / run_id / "report.html")
    return StepResult({"bytes": path.stat().st_size}, report=str(path))


def _question(config: ChurnConfig) -> str:
    label = config.label
    asked = {
        "customers": "Which customers of the table are about to leave, why, and whom is it worth to contact?",
        "purchases": f"Which customers who bought in the last {label.observation_days} days will buy nothing in the "
        f"{label.outcome_days} days after a gap of {label.gap_days}, why, and whom is it worth to contact?",
        "subscriptions": f"Whose service will end {label.gap_days} to {label.gap_days + label.outcome_days} days from "
        "now, why, and whom is it worth to contact?",
    }
    return asked[config.shape]


def _headlines(evaluation: Mapping[str, Any]) -> list[Headline]:
    test, ceiling = evaluation["test"], evaluation["ceiling"]
    low, high = test["auc_ci"]
    reach = f"{low:.3f} to {high:.3f}" + (f"; at best {ceiling['auc']:.3f}" if ceiling else "")
    selected = evaluation["confusion"]["true_positives"] + evaluation["confusion"]["false_positives"]
    return [
        Headline("AUC on the test rows", f"{test['auc']:.3f}", reach),
        Headline("Lift in the riskiest tenth", f"{test['lift_at_10pct']:.1f}×", "over contacting at random"),
        Headline("Churn rate", f"{test['positives'] / test['rows']:.1%}", f"{test['rows']:,} test rows"),
        Headline(
            "Expected profit", f"{evaluation['profit_at_threshold']:,.0f}", f"from contacting {selected:,} of them"
        ),
        Headline(
            "Calibration error", f"{test['ece']:.3f}", f"{test['ece_by_chance']:.3f} by chance alone on so few rows"
        ),
    ]


def _metrics(evaluation: Mapping[str, Any]) -> list[MetricRow]:
    test, baseline, ceiling = evaluation["test"], evaluation["baseline"], evaluation["ceiling"]
    rows = []
    for name, (better, meaning) in _MEANINGS.items():
        low, high = test.get(f"{name}_ci", (None, None))
        has_reference = name != "ece"  # neither a constant rate nor the truth says what an error of zero would be
        rows.append(
            MetricRow(
                name,
                test[name],
                low,
                high,
                baseline[name] if has_reference else None,
                ceiling[name] if ceiling and has_reference else None,
                "higher" if better == "higher" else "lower",
                meaning,
            )
        )
    return rows


def _figures(evaluation: Mapping[str, Any]) -> list[Figure]:
    test, points = evaluation["test"], evaluation["points"]
    positives, negatives = test["positives"], test["rows"] - test["positives"]
    rate = positives / test["rows"]
    roc = [(0.0, 0.0), *((false / negatives, true / positives) for _, true, false in points)]
    precision = [(true / positives, true / (true + false)) for _, true, false in points]
    gains = [(0.0, 0.0), *(((true + false) / test["rows"], true / positives) for _, true, false in points)]
    lift = [((true + false) / test["rows"], true / (true + false) / rate) for _, true, false in points]
    confusion = evaluation["confusion"]
    chosen = (confusion["true_positives"] + confusion["false_positives"]) / test["rows"]
    profit = [(share, money) for share, money in evaluation["profit"]]
    return [
        Figure(
            "Gains",
            figures.gains(gains, rate, positives="churners"),
            "How many churners one finds by contacting the riskiest first.",
            "decision",
        ),
        Figure(
            "Profit",
            figures.profit(profit, chosen, earned=evaluation["profit_at_threshold"]),
            "What contacting the riskiest share is expected to earn.",
            "decision",
        ),
        Figure(
            "Calibration",
            figures.calibration([tuple(bin_) for bin_ in evaluation["calibration"]]),
            "Each dot is a tenth of the rows; on the line, the probability can be taken at its word.",
        ),
        Figure("Lift", figures.lift(lift), "Churn among the contacted over churn among all."),
        Figure("ROC", figures.roc(roc, test["auc"]), "Churners found against loyal customers contacted."),
        Figure("Precision and recall", figures.precision_recall(precision, rate), "Share of hits among the contacted."),
    ]


def _slices(evaluation: Mapping[str, Any]) -> list[html.Slice]:
    return [
        html.Slice(column, part["slice"], part["rows"], part["observed"], part["predicted"], part["auc"])
        for column, parts in evaluation["slices"].items()
        for part in parts
    ]


def _decision(evaluation: Mapping[str, Any], config: ChurnConfig) -> list[str]:
    decided, costs = evaluation["confusion"], config.costs
    selected = decided["true_positives"] + decided["false_positives"]
    precision, recall = decided["precision"], decided["recall"]
    return [
        f"A contact costs {costs.contact:g}, a saved customer is worth {costs.value_saved:g}, and an offer keeps "
        f"{costs.success_rate:.0%} of those who would leave: contacting pays from a probability of "
        f"{decided['threshold']:.3f}.",
        f"On the test rows that selects {selected:,} customers"
        + (f", {precision:.0%} of whom leave; it finds {recall:.0%} of all who leave." if precision else "."),
        f"Expected profit: {evaluation['profit_at_threshold']:,.0f}. Measure it: leave a random part of the selected "
        "uncontacted, since a score says who leaves and not whom an offer changes.",
    ]


def _confusion(evaluation: Mapping[str, Any], config: ChurnConfig) -> html.Confusion:
    decided, costs = evaluation["confusion"], config.costs
    kept = costs.success_rate * costs.value_saved
    return html.Confusion(
        threshold=decided["threshold"],
        true_positives=decided["true_positives"],
        false_positives=decided["false_positives"],
        false_negatives=decided["false_negatives"],
        true_negatives=decided["true_negatives"],
        earned=decided["true_positives"] * (kept - costs.contact),
        spent=-decided["false_positives"] * costs.contact,
        missed=decided["false_negatives"] * (kept - costs.contact),
        positive="leaves",
        negative="stays",
        selected="contact",
        left="leave alone",
    )


def _quality(spark: SparkSession, warehouse: Warehouse) -> Sequence[Mapping[str, Any]]:
    table = warehouse.table(QUALITY)
    if not exists(spark, table):
        return []
    # One row per declared rule: it does not grow with the data.
    rules = read(spark, table).withColumnsRenamed({"checked_count": "checked", "failed_count": "failed"})
    return [row.asDict() for row in rules.orderBy(F.desc("failed"), "table", "column", "rule").collect()]


def _tables(spark: SparkSession, config: ChurnConfig, warehouse: Warehouse) -> list[dict[str, Any]]:
    silver = {
        "customers": [schema.TELCO.name],
        "purchases": [schema.PURCHASES.name],
        "subscriptions": [table.name for table in schema.EVENT_LOG],
    }
    known = [warehouse.table(name) for name in (*silver[config.shape], FEATURES, SCORES)]
    return [
        {"name": ref.label, "version": latest_version(spark, ref), "rows": read(spark, ref).count()}
        for ref in known
        if exists(spark, ref)
    ]


def _notes(spark: SparkSession, warehouse: Warehouse, evaluation: Mapping[str, Any]) -> list[str]:
    features = read(spark, warehouse.table(FEATURES), evaluation["features_version"])
    counts = {row[SPLIT]: row["count"] for row in features.groupBy(SPLIT).count().collect()}
    meanings = {
        "train": "rows to fit on",
        "validation": "rows to choose and calibrate on",
        "test": "rows to evaluate on",
        "gap": "rows left out, because their outcome was not known when the next part begins",
        "current": "customers to score, whose outcome nobody knows yet",
    }
    return [f"{counts[part]:,} {meaning}." for part, meaning in meanings.items() if counts.get(part)]


def _actions(evaluation: Mapping[str, Any], training: Mapping[str, Any]) -> list[str]:
    test, ceiling = evaluation["test"], evaluation["ceiling"]
    actions = ["Contact the customers marked contact in gold_churn_scores, with the reasons at hand."]
    if ceiling:
        actions.append(f"The model is {ceiling['auc'] - test['auc']:.3f} AUC below what is possible on this data.")
    if test["ece"] > max(0.03, 1.5 * test["ece_by_chance"]):
        actions.append(f"Calibration error is {test['ece']:.3f}: recalibrate on newer rows before deciding by money.")
    apart = [
        f"{column} = {part['slice']}"
        for column, parts in evaluation["slices"].items()
        for part in parts
        if part["rows"] >= 200 and abs(part["observed"] - part["predicted"]) > 0.05
    ]
    if apart:
        actions.append(f"Predicted and observed rates are more than five points apart for {', '.join(apart)}.")
    if training["dropped"]:
        actions.append(f"Find out why these features carry nothing: {', '.join(training['dropped'])}.")
    actions.append("Run again when a month of new outcomes is known.")
    return actions


def _note(name: str, training: Mapping[str, Any]) -> str:
    typical = training["typical"].get(name)
    shown = f"{typical:.4g}" if isinstance(typical, float) else typical
    return f"compared with {shown}" if typical is not None else ""


def _shown(values: Mapping[str, float]) -> dict[str, float]:
    return {name: values[name] for name in ("auc", "pr_auc", "log_loss", "brier", "ece", "lift_at_10pct")}
