"""Repeated stratified cross-validation on IBM's Telco table: 2 x 5 folds, seeds fixed, nothing tuned on test rows.

`python -m benchmarks.churn_telco --source DIR` prints mean and standard deviation over the ten folds for every
candidate of the vertical with its default settings, as it is and with either calibration. Inside each fold the calibration map
is fitted on out-of-fold predictions of five inner folds of the training rows. `ece` has ten bins of equal width, `ece_mass` ten
of equal rows; on 1,409 rows a perfectly calibrated model has about 0.02 of either. The last line is wrong on purpose: churners are copied before
the split, so copies of a test row are in training; it shows where figures far above the others come from.
"""

import argparse
import json
import statistics
import sys
import tempfile

from pyspark.ml import PipelineModel, Transformer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn.algorithms import candidates
from churn.algorithms.candidates import PROBABILITY
from churn.config import ChurnConfig, layers
from churn.features import of_telco, telco_label
from churn.ingest import ingest
from churn.schema import CUSTOMER_ID, LABEL, TELCO
from shared.core.session import get_session, stop
from shared.delta.read import read
from shared.delta.tables import Warehouse
from shared.evaluation.binary import evaluate
from shared.evaluation.calibration import SCALINGS, ece_by_chance
from shared.features.split import folds

FOLDS = 5
REPETITIONS = (0, 1)
INNER_FOLDS = 5
SHOWN = ("auc", "pr_auc", "brier", "log_loss", "ece", "ece_by_chance", "ece_mass", "lift_at_10pct")
COPIES = 3  # three churners for each: about as many as there are customers who stay


def main() -> None:
    """Run the protocol and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--source", required=True)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as warehouse:
        config = ChurnConfig.load(*layers(options.source), f"{{source: {options.source}, warehouse: {warehouse}}}")
        spark = get_session(config.session, "benchmark")
        try:
            results = _results(_features(spark, config), config)
        finally:
            stop(spark)
    summary = {name: _summary(metrics) for name, metrics in results.items()}
    print(json.dumps(summary) if options.json else _table(summary))


def _features(spark: SparkSession, config: ChurnConfig) -> DataFrame:
    ingest(spark, config, "benchmark")
    customers = read(spark, Warehouse(config.warehouse).table(TELCO.name))
    return of_telco(customers).join(telco_label(customers), CUSTOMER_ID).localCheckpoint()


def _results(features: DataFrame, config: ChurnConfig) -> dict[str, list[dict[str, float]]]:
    results: dict[str, list[dict[str, float]]] = {}
    for repetition in REPETITIONS:
        rows = folds(features, CUSTOMER_ID, FOLDS, seed=repetition, stratify=LABEL).localCheckpoint()
        for fold in range(FOLDS):
            train, test = rows.where(F.col("fold") != fold), rows.where(F.col("fold") == fold)
            for name, metrics in _fold(train, test, config).items():
                results.setdefault(name, []).append(metrics)
            print(f"repetition {repetition} fold {fold} done", file=sys.stderr)
    copied = features.withColumn(
        "_copy", F.explode(F.sequence(F.lit(1), F.when(F.col(LABEL) == 1, COPIES).otherwise(1)))
    )
    inflated = folds(copied, [CUSTOMER_ID, "_copy"], FOLDS, seed=0, stratify=LABEL).drop("_copy").localCheckpoint()
    train, test = inflated.where(F.col("fold") != 0), inflated.where(F.col("fold") == 0)
    results["INFLATED: churners copied before the split (forest)"] = [_inflated(train, test, config)]
    return results


def _fold(train: DataFrame, test: DataFrame, config: ChurnConfig) -> dict[str, dict[str, float]]:
    raw = _fit(train, config)
    inner = folds(train.drop("fold"), CUSTOMER_ID, INNER_FOLDS, seed=config.seed, stratify=LABEL).localCheckpoint()
    held_out = [
        (_fit(inner.where(F.col("fold") != place), config), inner.where(F.col("fold") == place))
        for place in range(INNER_FOLDS)
    ]
    found = {}
    for name, stages in raw.items():
        out_of_fold = [_scored(models[name], rows) for models, rows in held_out]
        together = out_of_fold[0]
        for part in out_of_fold[1:]:
            together = together.unionByName(part)
        together.cache()
        scored = _scored(stages, test).cache()
        found[f"{name}, raw"] = _metrics(scored)
        for way, scaling in SCALINGS.items():
            found[f"{name}, {way}"] = _metrics(scaling(PROBABILITY, LABEL).fit(together).transform(scored))
        together.unpersist()
        scored.unpersist()
    return found


def _fit(train: DataFrame, config: ChurnConfig) -> dict[str, list[Transformer]]:
    inputs = candidates.inputs_of(train, (CUSTOMER_ID, LABEL, "fold"))
    preparation = candidates.fit_preparation(train, inputs, config.model)
    prepared = candidates.for_models(PipelineModel(preparation).transform(train)).cache()
    fitted = candidates.fit_candidates(prepared, config.model, candidates.levels_of(preparation), config.seed)
    prepared.unpersist()
    return {name: [*preparation, *stages] for name, stages in fitted.items()}


def _scored(stages: list[Transformer], rows: DataFrame) -> DataFrame:
    return PipelineModel(stages).transform(rows).select(CUSTOMER_ID, LABEL, PROBABILITY)


def _inflated(train: DataFrame, test: DataFrame, config: ChurnConfig) -> dict[str, float]:
    # A deep forest remembers the copies; that is the point.
    model = config.model.model_copy(update={"candidates": ("forest",), "forest_depth": 20, "tree_leaf": 1})
    stages = _fit(train, config.model_copy(update={"model": model}))["forest"]
    return _metrics(_scored(stages, test))


def _metrics(scored: DataFrame) -> dict[str, float]:
    rows = scored.cache()
    found = evaluate(rows, label=LABEL, probability=PROBABILITY).as_dict()
    by_mass = evaluate(rows, label=LABEL, probability=PROBABILITY, ece_bins="mass")
    by_chance = ece_by_chance(rows, label=LABEL, probability=PROBABILITY)
    rows.unpersist()
    return found | {"ece_mass": by_mass.ece, "ece_by_chance": by_chance}


def _summary(rows: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    values = {name: [row[name] for row in rows] for name in SHOWN}
    return {name: (statistics.fmean(found), statistics.pstdev(found)) for name, found in values.items()}


def _table(summary: dict[str, dict[str, tuple[float, float]]]) -> str:
    lines = [f"{'':<52}" + "".join(f"{name:>19}" for name in SHOWN)]
    for name, values in summary.items():
        lines.append(f"{name:<52}" + "".join(f"{values[key][0]:>10.4f} ± {values[key][1]:.4f}" for key in SHOWN))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
