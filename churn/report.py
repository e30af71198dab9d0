"""The report of an evaluated model: what was asked, what came out, and what to do next.

It is read from tables and from what training and evaluation stored; no model is fitted or applied. What was asked is
what the model was trained for. Costs that the command names take the place of those of the training; all money and the
threshold follow from them.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import yaml
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from churn.algorithms import reasons
from churn.algorithms.candidates import PROBABILITY, Inputs
from churn.config import ChurnConfig, as_trained
from churn.features import FEATURES, SPLIT
from churn.ingest import QUALITY, tables_of
from churn.schema import SNAPSHOT_DATE
from churn.score_batch import SCORES
from churn.train import MODEL
from shared.core import clock
from shared.core.config import redacted
from shared.core.errors import ModelError
from shared.core.parallel import in_parallel
from shared.core.run import StepResult
from shared.delta import lineage
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse, exists
from shared.evaluation import thresholds
from shared.registry import documents, models, tracking
from shared.registry.versions import made_by
from shared.report import binary, html, searching
from shared.report.html import Headline, RunReport
from shared.report.numbers import number, percent, points
from shared.report.searching import SearchTable

_MEANINGS = {
    "auc": "chance that a churner outranks a customer who stays",
    "pr_auc": "average precision over all thresholds",
    "log_loss": "surprise per row, in nats",
    "brier": "mean squared error of the probability",
    "ece": "mean distance of predicted and observed rate, ten bins",
    "lift_at_10pct": "churn among the riskiest tenth over churn among all",
}
_CANDIDATES = {
    "logistic": "logistic regression",
    "forest": "random forest",
    "boosted": "boosted trees",
    "blend": "mean of the others",
}
_PARTS = {
    "train": "to fit on",
    "validation": "to choose and calibrate on",
    "test": "to evaluate on",
    "gap": "left out, because their outcome was not known when the next part begins",
    "current": "to score, whose outcome nobody knows yet",
}
_TITLES = {
    "customers": "Which customers are about to leave?",
    "purchases": "Which customers will not buy again?",
    "subscriptions": "Which subscribers are about to leave?",
}
_FEATURES_NOTE = (
    "Importance is the mean change of the log-odds when a feature is put at the value it is compared with, the median or "
    "the most frequent one. Which way it moves the risk is judged by the main reasons of the customers scored."
)


class Scores(NamedTuple):
    """What `gold_churn_scores` holds of the model: rows, how many are marked contact, and which way features push.

    Args:
        version: of the table.
        rows: customers scored with this version of the model.
        to_contact: of these, marked contact.
        undecided: of these, marked otherwise than the costs of the report would have it.
        directions: feature → which way it moves the score, where that is clear.
    """

    version: int
    rows: int
    to_contact: int
    undecided: int
    directions: Mapping[str, str]


def report(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Write the report of the newest evaluated model, or of that of training run --run-id, as one HTML file."""
    content = contents(spark, config, run_id)
    client = tracking.connect(config, MODEL)
    path = html.write(content, tracking.local_folder(config) / "reports" / run_id / "report.html")
    model = _reported(client, run_id)
    documents.add_file(model, path)
    return StepResult({"bytes": path.stat().st_size}, report=str(path))


def contents(spark: SparkSession, config: ChurnConfig, run_id: str) -> RunReport:
    """Return what the report says of the model that training run ``run_id`` made; of any other id, the challenger.

    Raises:
        ModelError: there is no such model, or it was not evaluated.
    """
    model = _reported(tracking.connect(config, MODEL), run_id)
    training, evaluation = documents.logged(model, "training"), documents.added(model, "evaluation")
    then = as_trained(documents.logged(model, "config"), config)
    costs = thresholds.Costs(then.costs.contact, then.costs.value_saved, then.costs.success_rate)
    warehouse, version = Warehouse(config.warehouse), evaluation["features_version"]
    looked_up: list[Callable[[], Any]] = [
        partial(_parts, spark, warehouse, version),
        partial(_scores, spark, warehouse, model, training, costs.threshold),
        partial(_silver, spark, warehouse, then, model),
        partial(_quality, spark, warehouse),
    ]
    parts, scores, silver, quality = in_parallel(spark, looked_up)
    decided = binary.decided_at(evaluation, costs)
    searches, searches_note = _searches(model, training)
    return RunReport(
        title=_TITLES[then.shape],
        subtitle="Customer churn",
        question=question(then),
        run_id=model.run.data.tags[tracking.RUN_ID_TAG],
        created_ts=clock.utc_now(),
        source=then.source or f"{then.sample.customers:,} made-up customers, whose truth is known",
        model=html.Model(model.name, model.version, model.alias),
        headlines=_headlines(evaluation, decided, costs),
        summary=summary(evaluation, decided, scores),
        metrics=binary.metrics(evaluation, _MEANINGS),
        metrics_note=f"On the {parts['test']['rows']:,} test rows{_period(parts['test'])}, which nothing was fitted or "
        "chosen on. Intervals hold 95% of the bootstrap replicates, drawn by customer.",
        candidates=_candidates(training["validation"]),
        chosen=_CANDIDATES[training["chosen"]],
        searches=searches,
        searches_note=searches_note,
        figures=binary.plots(evaluation, decided, costs, positives="churners"),
        features=_features(evaluation, training, scores),
        features_note=_FEATURES_NOTE,
        dropped=training["dropped"],
        slices=binary.slices(evaluation),
        decision=_decision(decided, costs),
        confusion=binary.confusion(decided, costs, positive="leaves", negative="stays"),
        quality=quality,
        tables=[*silver, *_gold(parts, version, scores)],
        notes=_notes(parts, evaluation),
        actions=actions(model, evaluation, scores, next_outcomes(then, parts)),
        config=yaml.safe_dump(redacted(then), sort_keys=False),
    )


def _reported(client: tracking.MlflowClient, run_id: str) -> models.Registered:
    challenger = models.find(client, MODEL, models.CHALLENGER)
    try:
        run = tracking.find_run(client, MODEL, run_id)
    except ModelError:  # the id is that of this command, which trained nothing
        run = challenger.run
    return made_by(client, MODEL, run)


def question(config: ChurnConfig) -> str:
    """Return what was asked, in one sentence."""
    label = config.label
    asked = {
        "customers": "Which customers of the table are about to leave"
        + (f", as {config.data.label} = {' or '.join(config.data.positive)} says" if config.data else ""),
        "purchases": f"Which customers who bought in the last {label.observation_days} days will buy nothing in the "
        f"{label.outcome_days} days " + (f"after a gap of {label.gap_days}" if label.gap_days else "that follow"),
        "subscriptions": f"Whose service will end {label.gap_days} to {label.gap_days + label.outcome_days} days from "
        "now",
    }
    return f"{asked[config.shape]}, why, and whom is it worth to contact?"


def summary(evaluation: Mapping[str, Any], decided: thresholds.Confusion, scores: Scores | None) -> list[str]:
    """Return the answer in a few sentences."""
    test, ceiling = evaluation["test"], evaluation["ceiling"]
    if test["auc_ci"][0] <= 0.5:
        return ["The model is no better than chance on the test rows: do not use it."]
    found = binary.found_in(evaluation, 0.2)
    ranks = f"The riskiest fifth of the test rows holds {found:.0%} of those who leave; a random fifth would hold 20%."
    if ceiling:
        reached = (test["auc"] - 0.5) / (ceiling["auc"] - 0.5)
        ranks += f" In ranking, that is {min(reached, 1):.0%} of the way from chance to the best that is possible here."
    trust = (
        f"Its probabilities can be taken at their word, so the decision may follow from money: {_pays(decided.threshold)}."
        if binary.is_calibrated(test)
        else f"Its probabilities are {percent(test['ece'])} off on average: use its order, not yet its money."
    )
    names = [name for name, size in evaluation["importance"][:3] if size > 0]
    today = [f"Of the {scores.rows:,} customers scored, {scores.to_contact:,} are marked contact."] if scores else []
    return [f"{ranks} {trust}", " ".join([f"What it goes by most: {', '.join(names)}.", *today])]


def actions(
    model: models.Registered, evaluation: Mapping[str, Any], scores: Scores | None, next_outcomes: str
) -> list[str]:
    """Return what to do next, the most urgent first."""
    todo = []
    if model.alias != models.CHAMPION:
        todo.append(f"Version {model.version} does not score: run promote and score-batch if it shall.")
    elif not scores:
        todo.append(f"Run score-batch: {SCORES} holds nobody scored with version {model.version}.")
    elif scores.undecided:
        todo.append(
            f"Run score-batch again: for {scores.undecided:,} customers in {SCORES} the costs decide otherwise."
        )
    else:
        todo.append(
            f"Contact the {scores.to_contact:,} customers marked contact in {SCORES}, with their reasons at hand."
        )
        todo.append("Leave a random part of them uncontacted: a score says who leaves, not whom an offer changes.")
    if not binary.is_calibrated(evaluation["test"]):
        todo.append(
            f"Recalibrate on newer rows before deciding by money: the error is {evaluation['test']['ece']:.3f}."
        )
    for part in binary.slices(evaluation):
        if part.is_off:
            way = "less" if part.predicted < part.observed else "more"
            gap = points(abs(part.predicted - part.observed))
            todo.append(f"Look at {part.column} = {part.value}: {gap} {way} churn is predicted than was seen.")
    return [*todo, next_outcomes]


def next_outcomes(config: ChurnConfig, parts: Mapping[str, Row]) -> str:
    """Say when running again has something new to learn from."""
    if config.shape == "customers":
        return "Run again when the table has newer labels."
    label, current = config.label, parts.get("current")
    if not current:
        return f"Run again when the outcomes of another {label.outcome_days} days are known."
    known = current["last"] + timedelta(days=label.gap_days + label.outcome_days)
    return f"Run again from {known}: by then it is known who of the customers of {current['last']} left."


def _headlines(evaluation: Mapping[str, Any], decided: thresholds.Confusion, costs: thresholds.Costs) -> list[Headline]:
    test, ceiling = evaluation["test"], evaluation["ceiling"]
    low, high = test["auc_ci"]
    reach = f"{low:.3f} to {high:.3f}" + (f"; at best {ceiling['auc']:.3f}" if ceiling else "")
    chosen = (decided.true_positives, decided.false_positives)
    return [
        Headline("AUC on the test rows", f"{test['auc']:.3f}", reach),
        Headline("Lift in the riskiest tenth", f"{test['lift_at_10pct']:.1f}×", "over contacting at random"),
        Headline("Churn rate", percent(test["positives"] / test["rows"]), f"of {test['rows']:,} test rows"),
        Headline("Expected profit", number(round(costs.profit(*chosen))), f"from contacting {sum(chosen):,} test rows"),
        Headline(
            "Calibration error", f"{test['ece']:.3f}", f"{test['ece_by_chance']:.3f} by chance alone on so few rows"
        ),
    ]


def _candidates(validation: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {_CANDIDATES[name]: {kind: values[kind] for kind in _MEANINGS} for name, values in validation.items()}


def _searches(model: models.Registered, training: Mapping[str, Any]) -> tuple[list[SearchTable], str]:
    if not training.get("is_tuned"):
        return [], ""
    document = documents.logged(model, "tuning")
    return searching.tables(document, _CANDIDATES), searching.note(document, group="customer")


def _period(part: Row) -> str:
    first, last = part["first"], part["last"]
    return "" if first is None else f" of {first}" if first == last else f" of {first} to {last}"


def _features(
    evaluation: Mapping[str, Any], training: Mapping[str, Any], scores: Scores | None
) -> list[html.FeatureRow]:
    directions = scores.directions if scores else {}
    return [
        html.FeatureRow(name, size, _compared(training["typical"].get(name)), directions.get(name, ""))
        for name, size in evaluation["importance"]
    ]


def _compared(typical: float | str | list[str] | None) -> str:
    if isinstance(typical, list):
        return "compared with no text"
    return "" if typical is None else f"compared with {number(typical)}"


def _decision(decided: thresholds.Confusion, costs: thresholds.Costs) -> list[str]:
    selected, precision, recall = decided.true_positives + decided.false_positives, decided.precision, decided.recall
    return [
        f"A contact costs {number(costs.contact)}, a saved customer is worth {number(costs.value_saved)}, and an offer "
        f"keeps {number(100 * costs.success_rate)}% of those who would leave: {_pays(costs.threshold)}.",
        f"Of the test rows that selects {selected:,}"
        + (
            f", {precision:.0%} of whom leave; it finds {recall:.0%} of all who leave."
            if precision is not None
            else "."
        ),
    ]


def _pays(threshold: float) -> str:
    return f"contacting pays from a probability of {percent(threshold)}" if threshold <= 1 else "contacting never pays"


def _notes(parts: Mapping[str, Row], evaluation: Mapping[str, Any]) -> list[str]:
    has_dates = parts["test"]["first"] is not None
    notes = [f"A row is a customer{' on a snapshot day' if has_dates else ''}."]
    notes += [
        f"{parts[part]['rows']:,} rows{_period(parts[part])} {what}." for part, what in _PARTS.items() if part in parts
    ]
    if not evaluation["slices"]:
        notes.append("No slices: the data has no column, such as a plan or a contract, that groups its customers.")
    return notes


def _parts(spark: SparkSession, warehouse: Warehouse, version: int) -> dict[str, Row]:
    """Return per split its rows, and the first and the last snapshot; null where the rows have no dates."""
    rows = read(spark, warehouse.table(FEATURES), version).groupBy(SPLIT)
    counted = rows.agg(
        F.count("*").alias("rows"), F.min(SNAPSHOT_DATE).alias("first"), F.max(SNAPSHOT_DATE).alias("last")
    )
    return {row[SPLIT]: row for row in counted.collect()}


def _silver(
    spark: SparkSession, warehouse: Warehouse, config: ChurnConfig, model: models.Registered
) -> list[html.TableRow]:
    """Return the source tables as the features were made from them: as read last before the training began."""
    started = datetime.fromtimestamp(model.run.info.start_time / 1000, UTC)
    made = read(spark, warehouse.table(lineage.LINEAGE)).where(
        (F.col("step") == "features") & (F.col("read_ts") <= started)
    )
    last = made.groupBy("table").agg(F.max_by(F.struct("rows", "version"), "read_ts").alias("last"))
    found = {row["table"]: row["last"] for row in last.collect()}
    names = [table.name for table in tables_of(config)]
    return [html.TableRow(name, found[name]["rows"], found[name]["version"]) for name in names if name in found]


def _gold(parts: Mapping[str, Row], version: int, scores: Scores | None) -> list[html.TableRow]:
    features = html.TableRow(FEATURES, sum(part["rows"] for part in parts.values()), version)
    return [features, html.TableRow(SCORES, scores.rows, scores.version)] if scores else [features]


def _quality(spark: SparkSession, warehouse: Warehouse) -> Sequence[Mapping[str, Any]]:
    table = warehouse.table(QUALITY)
    if not exists(spark, table):
        return []
    # One row per declared rule: it does not grow with the data.
    rules = read(spark, table).withColumnsRenamed({"checked_count": "checked", "failed_count": "failed"})
    return [row.asDict() for row in rules.orderBy(F.desc("failed"), "table", "column", "rule").collect()]


def _scores(
    spark: SparkSession,
    warehouse: Warehouse,
    model: models.Registered,
    training: Mapping[str, Any],
    threshold: float,
) -> Scores | None:
    """Return what was scored with this version of the model; None where nothing was."""
    table = warehouse.table(SCORES)
    if not exists(spark, table):
        return None
    is_own = (F.col("model_version") == model.version) & (F.col("model_run_id") == model.run.info.run_id)
    scored = read(spark, table).where(is_own)
    is_contact = F.col("decision") == "contact"
    counted = scored.agg(
        F.count("*").alias("rows"),
        F.count_if(is_contact).alias("to_contact"),
        F.count_if(is_contact != (F.col(PROBABILITY) >= threshold)).alias("undecided"),
    ).collect()[0]
    if not counted["rows"]:
        return None
    inputs = Inputs.of(training["inputs"])
    typical = {name: training["typical"][name] for name in inputs.numeric}
    pushing = reasons.directions(scored.select(F.inline("reasons")), typical, inputs.text)
    return Scores(latest_version(spark, table), **counted.asDict(), directions=pushing)
