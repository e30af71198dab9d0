"""Draws must be those of their distribution, and depend on nothing but seed, purpose and keys."""

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from shared.core.draws import Draw

ROWS = 20_000


def test_the_same_row_draws_the_same_number_wherever_it_lies(spark: SparkSession) -> None:
    draw = Draw(7)
    few, many = spark.range(0, 50, 1, 1), spark.range(0, 500, 1, 5).where("id < 50")

    def drawn(rows: object, draw: Draw, purpose: str) -> list[float]:
        return [row[0] for row in rows.orderBy("id").select(draw.uniform(purpose, "id")).collect()]  # type: ignore[attr-defined]

    assert drawn(few, draw, "a") == drawn(many, draw, "a")
    assert drawn(few, draw, "a") != drawn(few, draw, "b")
    assert drawn(few, draw, "a") != drawn(few, Draw(8), "a")


def test_moments_are_those_of_the_distributions(spark: SparkSession) -> None:
    draw = Draw(1)
    columns = {"u": draw.uniform("u", "id"), "n": draw.normal("n", "id"), "w": draw.whole(4, "w", "id")}
    rows = spark.range(ROWS).select(*(column.alias(name) for name, column in columns.items()))

    found = rows.agg(*(f(name) for name in columns for f in (F.mean, F.stddev)), F.min("u"), F.max("u")).first()

    error = ROWS**-0.5  # five standard errors, at a spread of at most 1.12
    assert list(found)[:6] == pytest.approx([0.5, 12**-0.5, 0, 1, 1.5, 1.25**0.5], abs=5 * 1.12 * error)
    assert 0 <= found[6] < 0.001
    assert 0.999 < found[7] < 1


def test_each_value_is_picked_as_often(spark: SparkSession) -> None:
    counts = spark.range(ROWS).groupBy(Draw(3).pick(["a", "b"], "p", "id").alias("v")).count().collect()

    assert {row["v"] for row in counts} == {"a", "b"}
    assert abs(counts[0]["count"] - ROWS / 2) < 5 * (ROWS / 4) ** 0.5
