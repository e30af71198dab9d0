"""Grid, random and Optuna search on IBM's Telco table, each for the same time, beside the settings as configured.

`python -m benchmarks.tuning_telco --source DIR --minutes 5` trains four models on the same training rows by the product's
own `train`, and prints for each: trials, the cross-validated log loss of each candidate as configured, at best and as
chosen, and log loss and AUC of the registered model on the test rows, which nothing was chosen on. How many trials fit
into the time depends on the machine; with `--trials` instead the result does not.
"""

import argparse
import json
import tempfile
import time
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from churn.algorithms.candidates import PROBABILITY
from churn.config import ChurnConfig, layers
from churn.features import FEATURES, SPLIT, features
from churn.ingest import ingest
from churn.schema import LABEL
from churn.train import MODEL, train
from shared.core.session import get_session, stop
from shared.delta.read import read
from shared.delta.tables import Warehouse, exists
from shared.evaluation.binary import evaluate
from shared.registry import documents, models, tracking

METHODS = (None, "random", "grid", "optuna")


def main() -> None:
    """Train and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--source", required=True)
    parser.add_argument("--minutes", type=float, help="of each search")
    parser.add_argument("--trials", type=int, default=0, help="of each search")
    parser.add_argument("--warehouse", help="kept; one that has the features already is taken as it is")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        given = f"{{source: {options.source}, warehouse: {options.warehouse or temporary}}}"
        config = ChurnConfig.load(*layers(options.source), given, overrides=options.overrides)
        spark = get_session(config.session, "benchmark")
        try:
            if not exists(spark, Warehouse(config.warehouse).table(FEATURES)):
                ingest(spark, config, "benchmark")
                features(spark, config, "benchmark")
            for method in METHODS:
                print(_line(*_trained(spark, config, method, options)), flush=True)
        finally:
            stop(spark)


def _trained(
    spark: SparkSession, config: ChurnConfig, method: str | None, options: argparse.Namespace
) -> tuple[str, dict[str, Any], dict[str, float]]:
    """Return what the method is called, the document of its search, and metrics of its model on the test rows."""
    if method:
        limits = {"method": method, "max_minutes": options.minutes, "max_trials": options.trials}
        config = config.model_copy(update={"tuning": config.tuning.model_copy(update=limits)})
    run_id = f"benchmark-{method}-{time.time_ns()}"
    train(spark, config, run_id)
    client = tracking.connect(config, MODEL)
    model = models.find(client, MODEL, models.CHALLENGER)
    test = read(spark, Warehouse(config.warehouse).table(FEATURES)).where(F.col(SPLIT) == "test")
    scored = models.load(model).transform(test).select(LABEL, PROBABILITY).cache()
    metrics = evaluate(scored, label=LABEL, probability=PROBABILITY).as_dict()
    scored.unpersist()
    return method or "as configured", documents.logged(model, "tuning") if method else {}, metrics


def _line(name: str, document: dict[str, Any], metrics: dict[str, float]) -> str:
    lines = [f"{name:<14} test log loss {metrics['log_loss']:.4f}  test AUC {metrics['auc']:.4f}"]
    for candidate, search in document.get("searches", {}).items():
        by_number = {trial["number"]: trial for trial in search["trials"]}
        if by_number:
            shown = "  ".join(
                f"{what} {by_number[number]['mean']:.4f} ± {by_number[number]['standard_error']:.4f}"
                for what, number in (("configured", 0), ("best", search["best"]), ("chosen", search["chosen"]))
            )
            setting = json.dumps(by_number[search["chosen"]]["setting"])
            lines.append(
                f"  {candidate:<10} {len(by_number):>3} trials in {search['seconds']:.0f} s: {shown}  {setting}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
