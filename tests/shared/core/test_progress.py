import io
import time

from pyspark.sql import SparkSession

from shared.core.progress import showing


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_the_step_and_a_clean_line_at_the_end(spark: SparkSession) -> None:
    stream = _Terminal()

    with showing(spark, "train", stream):
        spark.range(0, 4, 1, 4).selectExpr("sum(length(sha2(repeat(string(id), 1000), 256)))").collect()
        time.sleep(0.7)

    assert "train" in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_a_pipe_sees_nothing(spark: SparkSession) -> None:
    stream = io.StringIO()

    with showing(spark, "train", stream):
        spark.range(3).count()

    assert stream.getvalue() == ""
