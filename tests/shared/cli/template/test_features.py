"""Features are plain functions of a row."""

from pyspark.sql import SparkSession

from shared.cli.template.features import of_rows
from shared.cli.template.schema import ROWS


def test_without_visits_there_is_no_amount_per_visit(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("a", 10.0, 4, "basic", True), ("b", 10.0, 0, None, False)], ROWS.ddl())

    found = {row["row_id"]: row for row in of_rows(rows).collect()}

    assert (found["a"]["amount_per_visit"], found["a"]["label"]) == (2.5, 1)
    assert (found["b"]["amount_per_visit"], found["b"]["label"]) == (None, 0)
