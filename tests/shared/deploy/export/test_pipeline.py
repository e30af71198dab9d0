"""Fitted pipelines of MLlib against their exports, on real sessions and with ONNX Runtime."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from pyspark.ml import Estimator, Pipeline, PipelineModel, Transformer
from pyspark.ml.classification import (
    DecisionTreeClassifier,
    GBTClassifier,
    LogisticRegression,
    NaiveBayes,
    RandomForestClassifier,
)
from pyspark.ml.feature import Imputer, StringIndexer, Tokenizer, VectorAssembler
from pyspark.ml.regression import (
    DecisionTreeRegressor,
    GBTRegressor,
    IsotonicRegression,
    LinearRegression,
    RandomForestRegressor,
)
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.errors import ModelError
from shared.deploy.export.pipeline import to_onnx
from shared.features import encoding
from shared.features.basis import HingeBasis, NaturalSpline
from shared.features.imputation import MissingFlags
from shared.features.sql_steps import adding, replacing
from shared.features.tf_idf import hashed_tf_idf, tf_idf

NUMERIC, CATEGORICAL = ["x", "z"], ["plan", "town"]


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    made = []
    for i in range(240):
        x = None if i % 11 == 0 else (i * 37 % 101) / 7
        z = float(i * 53 % 17)
        town = f"t{i * 7 % 40}"
        label = float(((x or 5) + z + (6 if i * 7 % 40 in (3, 9, 22) else 0) + i * 29 % 13) > 20)
        made.append((i, x, z, ("a", "b", None)[i % 3], town, label))
    return spark.createDataFrame(made, "id int, x double, z double, plan string, town string, label double").cache()


EDGES = [
    (1000, None, None, None, None, 0.0),
    (1001, math.nan, 3.0, "unseen", "", 0.0),
    (1002, 1e12, -1e12, "a", "t3", 0.0),
    (1003, -0.0, 1e-300, "b\x1f", "ü☂", 0.0),
]


def prepared() -> list[Estimator | Transformer]:
    filled = ["_x", "_z"]
    return [
        adding(["CAST(`x` AS DOUBLE) AS `_x`", "CAST(`z` AS DOUBLE) AS `_z`"]),
        MissingFlags(inputCols=filled),
        Imputer(strategy="median", inputCols=filled, outputCols=filled),
        HingeBasis(inputCols=filled, knots=3),
        encoding.indexer(CATEGORICAL, ["_plan", "_town"]),
        encoding.one_hot(["_plan", "_town"], ["_plan_is", "_town_is"]),
        VectorAssembler(
            inputCols=["_x", "_z", "_x__is_missing", "_x__h0", "_x__h1", "_plan_is", "_town_is"], outputCol="l"
        ),
        VectorAssembler(inputCols=["_z", "_x", "_town", "_plan"], outputCol="t"),
    ]


PROBABILITY = ["CAST(split(CAST(`v` AS STRING), '[\\\\[,\\\\]]')[2] AS DOUBLE) AS `p`"]
CLASSIFIERS = {
    "logistic": lambda: LogisticRegression(featuresCol="l", regParam=0.01, probabilityCol="v"),
    "tree": lambda: DecisionTreeClassifier(featuresCol="t", maxBins=64, probabilityCol="v"),
    "forest": lambda: RandomForestClassifier(featuresCol="t", maxBins=64, numTrees=9, seed=1, probabilityCol="v"),
    "boosted": lambda: GBTClassifier(featuresCol="t", maxBins=64, maxIter=6, maxDepth=3, seed=1).setProbabilityCol("v"),
    "only a leaf": lambda: DecisionTreeClassifier(featuresCol="t", maxBins=64, maxDepth=0, probabilityCol="v"),
}
REGRESSORS = {
    "linear": lambda: LinearRegression(featuresCol="l", predictionCol="p"),
    "tree": lambda: DecisionTreeRegressor(featuresCol="t", maxBins=64, predictionCol="p"),
    "forest": lambda: RandomForestRegressor(featuresCol="t", maxBins=64, numTrees=5, seed=1, predictionCol="p"),
    "boosted": lambda: GBTRegressor(featuresCol="t", maxBins=64, maxIter=5, stepSize=0.3, seed=1, predictionCol="p"),
}


def both(model: PipelineModel, rows: DataFrame, folder: Path) -> tuple[list[float], list[float]]:
    """Return what Spark and what the export say of the rows and of the edge cases."""
    model.write().save(str(folder))
    onnx_model = to_onnx(folder, numeric=NUMERIC, categorical=CATEGORICAL, output="p")
    session = ort.InferenceSession(onnx_model.SerializeToString(), providers=["CPUExecutionProvider"])
    every = [tuple(row) for row in rows.collect()] + EDGES
    scored = model.transform(rows.sparkSession.createDataFrame(every, rows.schema)).select("id", "p").collect()
    spark_says = {row["id"]: row["p"] for row in scored}
    asked = {
        "numeric": np.array([[math.nan if value is None else value for value in row[1:3]] for row in every]),
        "categorical": np.array([["\x00" if value is None else value for value in row[3:5]] for row in every], object),
    }
    wanted = {each.name for each in session.get_inputs()}
    found = session.run(["p"], {name: values for name, values in asked.items() if name in wanted})[0]
    return [spark_says[row[0]] for row in every], found.ravel().tolist()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_an_exported_classifier_gives_sparks_probabilities(rows: DataFrame, tmp_path: Path, name: str) -> None:
    model = Pipeline(stages=[*prepared(), CLASSIFIERS[name](), adding(PROBABILITY)]).fit(rows)

    expected, found = both(model, rows, tmp_path / "model")

    assert len(set(expected)) > (0 if name == "only a leaf" else 4)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", REGRESSORS)
def test_an_exported_regressor_gives_sparks_predictions(rows: DataFrame, tmp_path: Path, name: str) -> None:
    model = Pipeline(stages=[*prepared(), REGRESSORS[name]().setLabelCol("z")]).fit(rows)

    expected, found = both(model, rows, tmp_path / "model")

    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_isotonic_regression_is_straight_lines_between_its_boundaries(rows: DataFrame, tmp_path: Path) -> None:
    filled = replacing(["z"], ["coalesce(`z`, 4.25D) AS `z`"])
    model = Pipeline(
        stages=[filled, IsotonicRegression(featuresCol="z", labelCol="label", predictionCol="p"), replacing(["x"])]
    ).fit(rows)

    expected, found = both(model, rows, tmp_path / "model")

    assert len(set(expected)) > 3
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_words_are_counted_and_weighed_as_spark_does(spark: SparkSession, tmp_path: Path) -> None:
    texts = [["late", "bill"], ["late", "late", "café"], [], ["bill", "new"], ["東京"]]
    rows = spark.createDataFrame(
        [(place, float(place), texts[place % 5], float(place % 5 in (1, 3))) for place in range(40)],
        "id int, x double, words array<string>, label double",
    )
    stages = [
        *tf_idf("words", "t", vocabulary=5, min_rows=2),
        VectorAssembler(inputCols=["x", "t"], outputCol="l"),
        LogisticRegression(featuresCol="l", regParam=0.01, probabilityCol="v"),
        adding(PROBABILITY),
    ]
    model = Pipeline(stages=stages).fit(rows)
    model.write().save(str(tmp_path / "model"))

    graph = to_onnx(tmp_path / "model", numeric=["x"], categorical=[], words=["words"], output="p")
    every = [*texts, ["unseen"], ["late"] * 9]
    padded = np.array([[*found, *[""] * (9 - len(found))] for found in every], object)
    asked = {"numeric": np.full((len(every), 1), 3.0), "words_0": padded}
    found = ort.InferenceSession(graph.SerializeToString()).run(["p"], asked)[0].ravel()
    local = spark.createDataFrame([(place, 3.0, each, 0.0) for place, each in enumerate(every)], rows.schema)
    expected = [row["p"] for row in model.transform(local).orderBy("id").collect()]
    assert len(set(expected)) > 4
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "sql",
    [
        "IF(`z` > 3.0D, `z` - 3.0D, `z` * 0.0D)",
        "CASE WHEN `z` BETWEEN 0 AND 5 THEN 1 / (1 + exp(-(2.5D * ln(greatest(`z`, 1e-06D)) + 0.3D))) ELSE `z` END",
        "CASE WHEN `z` < 2 THEN 1D WHEN `z` < 4 THEN 2D ELSE sqrt(abs(`z`)) END",
        "power(`z`, 2) + least(`z`, 3.5D, 9D) - 2 * `z`",
        "coalesce(IF(isnan(`x`), NULL, `x`), `z`)",
        "CAST(`x` IS NULL OR isnan(`x`) AS DOUBLE)",
        "CAST(NOT (`x` IS NULL OR isnan(`x`)) AND `z` >= 3 AS DOUBLE)",
    ],
)
def test_expressions_mean_the_same(rows: DataFrame, tmp_path: Path, sql: str) -> None:
    expected, found = both(PipelineModel([adding([f"{sql} AS p"])]), rows, tmp_path / "model")

    for one, other in zip(expected, found, strict=True):
        assert (one is None or math.isnan(one)) == math.isnan(other)
        if not math.isnan(other):
            assert other == pytest.approx(one, rel=1e-12)


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (lambda: [Tokenizer(inputCol="town", outputCol="words")], "a Tokenizer"),
        (lambda: [StringIndexer(inputCol="town", outputCol="p")], "handleInvalid=error"),
        (lambda: [adding(["upper(`town`) AS p"])], r"the expression 'UPPER\(`town`\)'"),
        (lambda: [adding(["CAST(`town` AS INT) AS p"])], "the expression"),
        (lambda: [adding(["1.5D AS p"])], "the expression"),
        (lambda: [VectorAssembler(inputCols=["z"], outputCol="l"), NaiveBayes(featuresCol="l")], "a NaiveBayesModel"),
        (lambda: hashed_tf_idf("words", "p"), "a HashingTF"),
        (lambda: [NaturalSpline(inputCols=["z"])], "column 'p'"),
    ],
)
def test_what_has_no_exporter_is_refused(
    rows: DataFrame, tmp_path: Path, stages: Callable[[], list[Estimator | Transformer]], said: str
) -> None:
    with_words = rows.withColumn("words", F.array(F.lit("a")))
    Pipeline(stages=stages()).fit(with_words).write().save(str(tmp_path / "model"))

    with pytest.raises(ModelError, match=said) as refusal:
        to_onnx(tmp_path / "model", numeric=NUMERIC, categorical=CATEGORICAL, output="p")
    assert refusal.value.code == "EXPORT_UNSUPPORTED"


def test_more_than_two_classes_are_refused(rows: DataFrame, tmp_path: Path) -> None:
    many = rows.selectExpr("*", "id % 3 AS kind")
    stages = [VectorAssembler(inputCols=["z"], outputCol="t"), DecisionTreeClassifier(featuresCol="t", labelCol="kind")]
    Pipeline(stages=stages).fit(many).write().save(str(tmp_path / "model"))

    with pytest.raises(ModelError, match="of 3 classes"):
        to_onnx(tmp_path / "model", numeric=["z"], categorical=[], output="p")


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as refusal:
        to_onnx(tmp_path, numeric=["z"], categorical=[], output="p")
    assert refusal.value.code == "MODEL_UNREADABLE"
