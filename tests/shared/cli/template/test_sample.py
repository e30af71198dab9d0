"""The generator knows the truth: what happens is drawn from the probability it states."""

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from shared.cli.template.sample import TRUTH, generate
from shared.cli.template.schema import ROWS


def test_as_much_happens_as_the_truth_says(spark: SparkSession) -> None:
    rows = generate(spark, 4_000, 1.0, seed=3)

    happened, expected, spread = rows.agg(
        F.sum(F.col("happened").cast("int")), F.sum(TRUTH), F.sqrt(F.sum(F.col(TRUTH) * (1 - F.col(TRUTH))))
    ).collect()[0]

    assert abs(happened - expected) < 4 * spread


def test_the_same_seed_gives_the_same_rows_however_many_come_after(spark: SparkSession) -> None:
    few, more = (generate(spark, count, 1.0, seed=5).orderBy("row_id") for count in (20, 50))

    assert few.collect() == more.limit(20).collect()
    assert set(few.columns) == {*ROWS.names, TRUTH}
