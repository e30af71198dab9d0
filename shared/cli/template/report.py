"""The report of the newest evaluated model, read from what training and evaluation stored."""

import yaml
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from shared.cli.template.config import TemplateConfig
from shared.cli.template.features import FEATURES
from shared.cli.template.ingest import QUALITY
from shared.cli.template.train import MODEL
from shared.core import clock
from shared.core.config import redacted
from shared.core.run import StepResult
from shared.delta.read import read
from shared.delta.tables import Warehouse
from shared.evaluation.thresholds import Costs
from shared.registry import documents, models, tracking
from shared.report import binary, html
from shared.report.numbers import percent

_MEANINGS = {
    "auc": "chance that a row for which it happens outranks one for which it does not",
    "log_loss": "surprise per row, in nats",
    "brier": "mean squared error of the probability",
    "ece": "mean distance of predicted and observed rate, ten bins",
}


def report(spark: SparkSession, config: TemplateConfig, run_id: str) -> StepResult:
    """Write one self-contained HTML file about the newest model."""
    model = models.find(tracking.connect(config, MODEL), MODEL, models.CHALLENGER)
    written = html.write(
        contents(spark, config, model), tracking.local_folder(config) / "reports" / run_id / "report.html"
    )
    return StepResult({"bytes": written.stat().st_size}, report=str(written))


def contents(spark: SparkSession, config: TemplateConfig, model: models.Registered) -> html.RunReport:
    """Return what the report says of an evaluated model."""
    evaluation = documents.added(model, "evaluation")
    costs, warehouse = Costs(**config.costs.model_dump()), Warehouse(config.warehouse)
    decided, test = binary.decided_at(evaluation, costs), evaluation["test"]
    selected = decided.true_positives + decided.false_positives
    rules = read(spark, warehouse.table(QUALITY)).orderBy(F.desc("failed_count"))
    features = read(spark, warehouse.table(FEATURES), evaluation["features_version"])
    return html.RunReport(
        title="For which rows will it happen?",
        subtitle="Template",
        question="For which rows will it happen in the month after, and which of them are worth acting on?",
        run_id=model.run.data.tags[tracking.RUN_ID_TAG],
        created_ts=clock.utc_now(),
        source=config.source or f"{config.sample.rows:,} made-up rows, whose truth is known",
        model=html.Model(model.name, model.version, model.alias),
        headlines=[
            html.Headline(
                "AUC on the test rows", f"{test['auc']:.3f}", "from {:.3f} to {:.3f}".format(*test["auc_ci"])
            ),
            html.Headline("Rate", percent(test["positives"] / test["rows"]), f"of {test['rows']:,} test rows"),
            html.Headline("Selected", f"{selected:,}", f"test rows with a probability of {percent(costs.threshold)}"),
        ],
        metrics=binary.metrics(evaluation, _MEANINGS),
        metrics_note="On the test rows, which nothing was fitted or chosen on; intervals are bootstrapped by row.",
        figures=binary.plots(evaluation, decided, costs, positives="rows for which it happens"),
        slices=binary.slices(evaluation),
        confusion=binary.confusion(decided, costs, positive="happens", negative="does not"),
        quality=[
            row.asDict()
            for row in rules.withColumnsRenamed({"checked_count": "checked", "failed_count": "failed"}).collect()
        ],
        tables=[html.TableRow(FEATURES, features.count(), evaluation["features_version"])],
        config=yaml.safe_dump(redacted(config), sort_keys=False),
    )
