"""Train a logistic regression, calibrate it on validation rows and register it as the challenger.

Test rows are never read here: they are left out by the first line that reads the feature table.
"""

from typing import Any

from pyspark.ml import PipelineModel, Transformer
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import Imputer, VectorAssembler
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.cli.template.config import TemplateConfig
from shared.cli.template.features import CATEGORICAL, FEATURES, NUMERIC
from shared.cli.template.schema import LABEL, ROW_ID
from shared.core.config import redacted
from shared.core.run import StepResult
from shared.delta import lineage
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse
from shared.evaluation.binary import evaluate
from shared.evaluation.calibration import SCALINGS
from shared.features import encoding, leakage
from shared.features.imputation import MissingFlags
from shared.features.split import SPLIT
from shared.features.sql_steps import adding, replacing
from shared.registry import models, tracking

MODEL = "template"
PROBABILITY = "probability"


def train(spark: SparkSession, config: TemplateConfig, run_id: str) -> StepResult:
    """Train, calibrate and register a model."""
    client = tracking.connect(config, MODEL)
    warehouse = Warehouse(config.warehouse)
    table = warehouse.table(FEATURES)
    version = latest_version(spark, table)
    rows = read(spark, table, version).where(F.col(SPLIT).isin("train", "validation"))
    training, validation = (rows.where(F.col(SPLIT) == part).cache() for part in ("train", "validation"))
    refuse_leaks(training, validation, config)
    with tracking.training_run(config, run_id, {FEATURES: version}) as run:
        model = fit(training, validation, config)
        found = evaluate(model.transform(validation), label=LABEL, probability=PROBABILITY)
        tracking.mlflow.log_metrics({f"validation_{name}": value for name, value in found.as_dict().items()})
        document = {"validation": found.as_dict(), "fitted_on": leakage.fingerprint(training, ROW_ID)}
        documents = {"config": redacted(config), "training": document}
        registered = models.register(client, run, MODEL, model, documents=documents)
    lineage.record(spark, warehouse, run_id, "train", [(table, version)])
    facts = {"rows_train": training.count(), "rows_validation": validation.count(), "validation_auc": found.auc}
    training.unpersist()
    validation.unpersist()
    return StepResult(facts, model=registered.as_dict())


def refuse_leaks(training: DataFrame, validation: DataFrame, config: TemplateConfig) -> None:
    """Refuse rows that are in both parts, and a feature that is the label in disguise.

    Raises:
        DataError: LEAK_GROUP_OVERLAP, LEAK_LABEL_IN_DISGUISE.
    """
    leakage.check_groups(training, validation, group=ROW_ID)
    leakage.check_single_features(
        training, numeric=NUMERIC, categorical=CATEGORICAL, label=LABEL, max_auc=config.max_single_auc
    )


def fit(training: DataFrame, validation: DataFrame, config: TemplateConfig) -> PipelineModel:
    """Return the fitted model: it adds `probability` to rows with the features, and nothing else.

    Missing numbers become the median and a flag; missing and unseen levels share one.
    """
    filled = [f"_x_{name}" for name in NUMERIC]
    indexed, onehot = [f"_i_{name}" for name in CATEGORICAL], [f"_o_{name}" for name in CATEGORICAL]
    stages: list[Transformer] = []
    prepared = training

    def add(stage: Any) -> None:
        nonlocal prepared
        fitted = stage.fit(prepared) if hasattr(stage, "fit") else stage
        stages.append(fitted)
        prepared = fitted.transform(prepared)

    add(adding(f"CAST(`{name}` AS DOUBLE) AS `{own}`" for name, own in zip(NUMERIC, filled, strict=True)))
    add(MissingFlags(inputCols=filled))
    flags = [name for name in prepared.columns if name not in (*training.columns, *filled)]
    add(Imputer(strategy="median", inputCols=filled, outputCols=filled))
    add(encoding.indexer(CATEGORICAL, indexed))
    add(encoding.one_hot(indexed, onehot))
    add(VectorAssembler(inputCols=[*filled, *flags, *onehot], outputCol="_features"))
    add(LogisticRegression(featuresCol="_features", labelCol=LABEL, probabilityCol="_vector", regParam=config.penalty))
    # A vector cannot be indexed in SQL; its text can, and Java writes doubles so that they read back exactly.
    add(adding([f"CAST(split(CAST(`_vector` AS STRING), '[\\\\[,\\\\]]')[2] AS DOUBLE) AS `{PROBABILITY}`"]))
    scored = PipelineModel(stages).transform(validation)
    stages.append(SCALINGS["platt"](PROBABILITY, LABEL).fit(scored))
    stages.append(replacing([name for name in prepared.columns if name not in (*training.columns, PROBABILITY)]))
    return PipelineModel(stages)
