"""The candidate models on features of any name."""

import pytest
from pyspark.ml import PipelineModel
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from churn.algorithms import candidates
from churn.algorithms.candidates import LABEL, PROBABILITY
from churn.config import ModelConfig

# The names of columns that the models make on the way, without their underscore.
WORKING = ("linear", "tree", "logistic", "forest", "boosted")


@pytest.mark.parametrize("kind", ["string", "int", "array<string>"])
def test_a_feature_may_have_the_name_of_a_candidate(spark: SparkSession, kind: str) -> None:
    values = {name: F.pmod(F.xxhash64("id", F.lit(name)), F.lit(7)) for name in WORKING}
    rows = spark.range(400).withColumns(values)
    label = ((F.col("forest") + F.col("linear")) > 6).cast("int").alias(LABEL)
    as_kind = {name: F.split(F.repeat(F.concat(name, F.lit(" ")), 2), " ") for name in WORKING}
    cells = [(as_kind[name] if kind == "array<string>" else F.col(name).cast(kind)).alias(name) for name in WORKING]
    rows = rows.select(*cells, F.lit(1.0).alias("other"), label)
    config = ModelConfig(forest_trees=2, boosted_trees=2, knots=2)
    inputs = candidates.inputs_of(rows, [LABEL])

    stages = candidates.fit_preparation(rows, inputs, config)
    prepared = candidates.for_models(PipelineModel(stages).transform(rows)).cache()
    levels = candidates.levels_of(stages)
    blend = candidates.fit_candidates(prepared, config, levels, seed=1)["blend"]
    whole = PipelineModel([*stages, *blend]).transform(rows)
    scored = candidates.finished([*stages, *blend], [c for c in whole.columns if c not in (*rows.columns, PROBABILITY)])

    assert levels == (7 if kind == "string" else 0)
    assert len(inputs.text) == (len(WORKING) if kind == "array<string>" else 0)
    assert scored.transform(rows).columns == [*rows.columns, PROBABILITY]
    assert scored.transform(rows).where(f"{PROBABILITY} BETWEEN 0 AND 1").count() == 400
