"""Scores of all: who is scored, what is written, and what a kill leaves to be done."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.errors import DataError
from shared.delta.read import history, read
from shared.delta.tables import TableRef
from shared.deploy import batch

MADE_FROM = ("model_version", "input_hash")
KEPT = ("probability",)


def table(folder: Path, name: str = "gold_test_scores") -> TableRef:
    return TableRef(name, str(folder / name))


def rows(spark: SparkSession, *values: tuple[str, int, int]) -> DataFrame:
    return spark.createDataFrame(values, "id string, model_version int, input_hash int")


def score(some: DataFrame) -> DataFrame:
    return some.withColumn("probability", F.col("input_hash") / 10)


def ids(some: DataFrame | None) -> list[str]:
    return [] if some is None else sorted(row["id"] for row in some.select("id").collect())


def counts(published: batch.Published) -> tuple[int, int, int, int]:
    return published.inserted, published.updated, published.removed, published.unchanged


def test_a_score_is_known_when_model_and_inputs_are_those_it_was_made_from(spark: SparkSession) -> None:
    current = score(rows(spark, ("same", 1, 5), ("moved", 1, 5), ("gone", 1, 5)))
    today = rows(spark, ("same", 1, 5), ("moved", 1, 6), ("came", 1, 5))

    known, new = batch.known_and_new(today, current, key="id", made_from=MADE_FROM, kept=KEPT)
    assert known is not None
    assert [tuple(row) for row in known.select("id", "probability").collect()] == [("same", 0.5)]
    assert ids(new) == ["came", "moved"]

    other_model = today.withColumn("model_version", F.lit(2))
    known, new = batch.known_and_new(other_model, current, key="id", made_from=MADE_FROM, kept=KEPT)
    assert (ids(known), ids(new)) == ([], ["came", "moved", "same"])

    # A table of before, which does not say what its scores were made from.
    known, new = batch.known_and_new(today, current.drop("input_hash"), key="id", made_from=MADE_FROM, kept=KEPT)
    assert (known, ids(new)) == (None, ["came", "moved", "same"])


def test_only_rows_that_differ_are_written_and_nothing_is_committed_for_none(
    spark: SparkSession, tmp_path: Path
) -> None:
    ref = table(tmp_path)
    first = spark.createDataFrame([("a", 0.1), ("b", None), ("c", 0.3)], "id string, probability double")
    assert counts(batch.publish(first, ref, key="id")) == (3, 0, 0, 0)
    assert counts(batch.publish(first, ref, key="id")) == (0, 0, 0, 3)
    assert history(spark, ref).count() == 1

    second = spark.createDataFrame([("a", 0.1), ("b", 0.2), ("d", 0.4)], "id string, probability double")
    published = batch.publish(second, ref, key="id")
    assert counts(published) == (1, 1, 1, 1)
    assert (published.rows, published.version) == (3, 1)
    assert sorted(map(tuple, read(spark, ref).collect())) == [("a", 0.1), ("b", 0.2), ("d", 0.4)]

    # Where nothing stays, and where the columns are others, the table is replaced.
    third = spark.createDataFrame([("e", 0.5)], "id string, probability double")
    assert counts(batch.publish(third, ref, key="id")) == (1, 0, 3, 0)
    assert counts(batch.publish(third.withColumn("decile", F.lit(1)), ref, key="id")) == (0, 1, 0, 0)
    assert read(spark, ref).columns == ["id", "probability", "decile"]


def test_parts_that_were_scored_before_a_kill_are_not_scored_again(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = table(tmp_path, "work_test_scores")
    today = rows(spark, *((f"c{number}", 1, number) for number in range(20)))
    real, appended = batch.append_once, []

    def dies(scored: DataFrame, ref: TableRef, **options: object) -> None:
        if appended:
            raise DataError("DIED", "The process died.")
        appended.append(real(scored, ref, **options).rows)  # type: ignore[arg-type]

    def all_scored() -> tuple[DataFrame, int]:
        return batch.in_parts(today, score, parts, key="id", made_from=MADE_FROM, kept=KEPT, rows_per_part=8)

    monkeypatch.setattr(batch, "append_once", dies)
    with pytest.raises(DataError, match="DIED"):
        all_scored()
    monkeypatch.setattr(batch, "append_once", real)
    scored, count = all_scored()

    assert 0 < appended[0] < 20
    assert count == 20 - appended[0]
    assert found(scored) == found(score(today))
    batch.forget_parts(spark, parts)
    assert read(spark, parts).isEmpty()


def found(scored: DataFrame) -> Sequence[tuple[object, ...]]:
    return sorted(map(tuple, scored.select("id", "probability").collect()))


def test_few_rows_leave_no_parts(spark: SparkSession, tmp_path: Path) -> None:
    parts = table(tmp_path, "work_test_scores")
    today = rows(spark, ("a", 1, 1), ("b", 1, 2))
    scored, count = batch.in_parts(today, score, parts, key="id", made_from=MADE_FROM, kept=KEPT, rows_per_part=2)
    assert (count, found(scored)) == (2, [("a", 0.1), ("b", 0.2)])
    batch.forget_parts(spark, parts)
    assert not list(tmp_path.iterdir())
