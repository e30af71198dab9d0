"""Terms of a basis must be the published formula, with knots from training rows, and survive being saved."""

from pathlib import Path

import pytest
from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame, SparkSession

from shared.core.errors import ConfigError
from shared.features.basis import HingeBasis, NaturalSpline, powers, products

SCHEMA = "x double, flag double"


@pytest.fixture(scope="module")
def line(spark: SparkSession) -> DataFrame:
    """0, 1, …, 100, and a column of zeros and ones."""
    return spark.range(101).selectExpr("CAST(id AS DOUBLE) x", "CAST(id % 2 AS DOUBLE) flag").cache()


def test_hinges_begin_at_the_quantiles_and_a_flag_gets_none(line: DataFrame, spark: SparkSession) -> None:
    basis = HingeBasis(["x", "flag"], knots=3).fit(line)
    at = basis.transform(spark.createDataFrame([(60.0, 1.0), (10.0, 0.0), (None, None)], SCHEMA))

    assert at.columns == ["x", "flag", "x__h0", "x__h1", "x__h2"]
    assert [tuple(row)[2:] for row in at.collect()] == [(35.0, 10.0, 0.0), (0.0, 0.0, 0.0), (None, None, None)]


def test_a_natural_spline_is_harrells_formula_and_straight_beyond_its_knots(
    line: DataFrame, spark: SparkSession
) -> None:
    basis = NaturalSpline(["x"], knots=3).fit(line)
    points = [10.0, 40.0, 60.0, 90.0, 190.0, 290.0]

    found = [
        row["x__s0"] for row in basis.transform(spark.createDataFrame([(p,) for p in points], "x double")).collect()
    ]

    def cube(value: float) -> float:
        return max(value, 0.0) ** 3

    first, middle, last = 25.0, 50.0, 75.0
    expected = [
        (
            cube(p - first)
            - cube(p - middle) * (last - first) / (last - middle)
            + cube(p - last) * (middle - first) / (last - middle)
        )
        / (last - first) ** 2
        for p in points
    ]
    assert found == pytest.approx(expected, rel=1e-12)
    assert found[0] == 0
    assert found[5] - found[4] == pytest.approx(found[4] - found[3], rel=1e-12)


def test_a_spline_leaves_null_null_and_a_column_with_few_values_alone(line: DataFrame, spark: SparkSession) -> None:
    basis = NaturalSpline(["x", "flag"]).fit(line)

    row = basis.transform(spark.createDataFrame([(None, 1.0)], SCHEMA)).first()

    assert row.asDict() == {"x": None, "flag": 1.0, "x__s0": None, "x__s1": None, "x__s2": None}


def test_a_saved_basis_has_the_knots_of_its_training_rows(line: DataFrame, tmp_path: Path) -> None:
    bases = PipelineModel([HingeBasis(["x"]).fit(line), NaturalSpline(["x"]).fit(line)])
    bases.save(str(tmp_path / "bases"))

    loaded = PipelineModel.load(str(tmp_path / "bases"))

    few = line.limit(7)
    assert loaded.transform(few).collect() == bases.transform(few).collect()


def test_powers_and_products_are_named_columns(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(2.0, 3.0), (None, 3.0)], "a double, b double")

    both = PipelineModel([powers(["a"], 3), products([("a", "b")])]).transform(rows)

    assert both.columns == ["a", "b", "a__p2", "a__p3", "a__x__b"]
    assert [tuple(row)[2:] for row in both.collect()] == [(4.0, 8.0, 6.0), (None, None, None)]


def test_too_few_knots_or_too_low_a_degree_are_refused() -> None:
    for make in (lambda: HingeBasis(["x"], knots=0), lambda: NaturalSpline(["x"], knots=2), lambda: powers(["x"], 1)):
        with pytest.raises(ConfigError):
            make()
