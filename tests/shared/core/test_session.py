from pyspark.sql import SparkSession

from shared.core.session import SessionConfig, get_session


def test_a_running_session_is_taken_as_it_is(spark: SparkSession) -> None:
    before = spark.conf.get("spark.sql.shuffle.partitions")

    taken = get_session(SessionConfig(shuffle_partitions=77))

    assert taken is spark
    assert taken.conf.get("spark.sql.shuffle.partitions") == before


def test_the_session_works_in_utc_and_writes_delta(spark: SparkSession, tmp_path) -> None:
    path = str(tmp_path / "t")
    spark.range(3).write.format("delta").save(path)

    assert spark.read.format("delta").load(path).count() == 3
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
