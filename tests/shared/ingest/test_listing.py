import os
from pathlib import Path

from pyspark.sql import SparkSession

from shared.ingest.listing import listing_digest
from shared.ingest.source import Source


def test_a_listing_follows_names_sizes_and_times_of_files(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "day=1").mkdir(parents=True)
    (folder / "day=1" / "a.csv").write_text("id\n1\n")
    source = [Source(format="csv", path=str(folder))]
    seen = {listing_digest(spark, source)}

    assert listing_digest(spark, source) in seen
    for change in (
        lambda: (folder / "day=1" / "a.csv").write_text("id\n12\n"),
        lambda: os.utime(folder / "day=1" / "a.csv", (1, 1)),
        lambda: (folder / "day=1" / "a.csv").rename(folder / "day=1" / "b.csv"),
        lambda: (folder / "c.csv").write_text("id\n1\n"),
    ):
        change()
        found = listing_digest(spark, source)
        assert found is not None
        assert found not in seen
        seen.add(found)


def test_what_a_listing_cannot_tell_has_none(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    file = Source(format="csv", path=str(tmp_path / "a.csv"))
    database = {"url": "jdbc:postgresql://localhost/x", "table": "t", "user": "u", "password": "env:P"}

    for other in (
        Source(format="jdbc", database=database),
        Source(format="delta", path=str(tmp_path)),
        Source(format="csv", path=str(tmp_path / "missing")),
    ):
        assert listing_digest(spark, [file, other]) is None
