"""The comparison of an export with Spark finds what differs, and what only differs at the edges."""

import math
from pathlib import Path

import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import Imputer
from pyspark.sql import DataFrame, SparkSession

from shared.core.errors import ModelError
from shared.deploy.export import parity
from shared.deploy.export.pipeline import to_onnx
from shared.deploy.online import compared as verdict
from shared.deploy.online.bundle import Contract, OnlineModel
from shared.deploy.online.compared import Parity
from shared.features import encoding
from shared.features.sql_steps import adding

CONTRACT = Contract(
    vertical="example",
    inputs={"x": "double", "visits": "int", "is_new": "boolean", "plan": "string"},
    typical={"x": 0.0, "visits": 1, "is_new": True, "plan": "a"},
    output="p",
    threshold=0.5,
    decisions=("contact", "leave"),
)


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    made = [(i, None if i % 4 == 0 else i / 3, i % 5, i % 2 == 0, "ab"[i % 2]) for i in range(40)]
    return spark.createDataFrame(made, "id int, x double, visits int, is_new boolean, plan string").cache()


def pipeline(slope: float = 0.5, tail: str = "0.0D") -> Pipeline:
    margin = f"{slope}D * `_x` + 0.1D * `_visits` + `_new` + `_plan` + {tail}"
    return Pipeline(
        stages=[
            adding(["CAST(`x` AS DOUBLE) AS `_x`", "CAST(`visits` AS DOUBLE) AS `_visits`"]),
            adding(["CAST(`is_new` AS DOUBLE) AS `_new`"]),
            Imputer(inputCols=["_x", "_visits", "_new"], outputCols=["_x", "_visits", "_new"]),
            encoding.indexer(["plan"], ["_plan"]),
            adding([f"1 / (1 + exp(-({margin}))) AS p"]),
        ]
    )


def exported(model: PipelineModel, folder: Path) -> OnlineModel:
    model.write().save(str(folder))
    graph = to_onnx(folder, numeric=CONTRACT.numeric, categorical=CONTRACT.categorical, output="p")
    return OnlineModel(CONTRACT, graph.SerializeToString())


def compared(model: PipelineModel, online: OnlineModel, rows: DataFrame) -> Parity:
    return parity.compare(model, online, rows, limit=30, tolerance=1e-5, order=["id"])


def test_an_export_of_the_model_itself_is_accepted(rows: DataFrame, tmp_path: Path) -> None:
    model = pipeline().fit(rows)

    found = compared(model, exported(model, tmp_path / "model"), rows)

    assert (found.rows - found.edge_rows, found.drawn_rows) == (1_000, 970)
    assert found.edge_rows > 20  # nulls, extremes, unseen levels of each of the four
    assert found.largest_difference < 1e-12
    verdict.refuse(found)


def test_a_large_table_is_compared_on_its_own_rows_alone(spark: SparkSession, rows: DataFrame, tmp_path: Path) -> None:
    model = pipeline().fit(rows)
    many = spark.range(1_100).selectExpr(
        "int(id)", "id / 3.0D AS x", "int(id % 5) AS visits", "true AS is_new", "'a' AS plan"
    )

    found = parity.compare(model, exported(model, tmp_path / "model"), many, limit=1_050, tolerance=1e-5, order=["id"])

    assert (found.rows - found.edge_rows, found.drawn_rows) == (1_050, 0)


def test_a_difference_that_only_values_of_several_rows_together_show_is_found(
    rows: DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = "`plan` = 'a' AND NOT `is_new` AND `x` > 5.0D AND `visits` < 2"
    model, other = pipeline(tail=f"IF({where}, 1.0D, 0.0D)").fit(rows), pipeline().fit(rows)
    online = exported(other, tmp_path / "model")

    assert compared(model, online, rows).largest_difference > 1e-3
    monkeypatch.setattr(parity, "_drawn", lambda *_: [])
    assert compared(model, online, rows).largest_difference < 1e-12  # no row and no edge case is such a one


def test_rows_are_drawn_each_column_for_itself_and_the_same_again() -> None:
    real = [{"x": place, "plan": str(place)} for place in range(20)]

    drawn = list(parity._drawn(real, 500))

    assert len(drawn) == 500
    assert {row["x"] for row in drawn} == set(range(20)) == {int(row["plan"]) for row in drawn}
    assert sum(str(row["x"]) == row["plan"] for row in drawn) < 100
    assert drawn == list(parity._drawn(real, 500))
    assert list(parity._drawn([], 500)) == list(parity._drawn(real, -1)) == []


def test_an_export_of_another_model_is_refused(rows: DataFrame, tmp_path: Path) -> None:
    model, other = pipeline().fit(rows), pipeline(slope=0.50005).fit(rows)

    found = compared(model, exported(other, tmp_path / "model"), rows)

    assert 1e-5 < found.largest_difference < 1
    with pytest.raises(ModelError) as refusal:
        verdict.refuse(found)
    assert refusal.value.code == "EXPORT_MISMATCH"


def test_a_difference_that_only_an_edge_shows_is_found(rows: DataFrame, tmp_path: Path) -> None:
    # Spark takes NaN for the greatest number, so the comparison of the two is true there and false in the export.
    model = pipeline(tail="IF(`x` > 1000.0D, 1.0D, 0.0D)").fit(rows)

    found = compared(model, exported(model, tmp_path / "model"), rows)

    assert found.largest_difference > 1e-3


def test_a_number_on_one_side_only_is_an_infinite_difference() -> None:
    assert parity._difference(None, 0.5) == math.inf
    assert parity._difference(0.5, math.nan) == math.inf
    assert parity._difference(math.nan, math.nan) == parity._difference(None, math.nan) == 0.0
    assert parity._difference(0.5, 0.25) == 0.25


def test_without_rows_nothing_is_accepted(rows: DataFrame, tmp_path: Path) -> None:
    model = pipeline().fit(rows)

    found = compared(model, exported(model, tmp_path / "model"), rows.limit(0))

    assert not found.is_within
    with pytest.raises(ModelError):
        verdict.refuse(found)
