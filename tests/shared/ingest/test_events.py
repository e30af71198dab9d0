"""Events of two tables in one stream: each in its table once, however often a batch is tried, and the others put aside."""

from functools import partial
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from shared.core.columns import Column, Table
from shared.delta.read import history, read
from shared.delta.tables import Warehouse
from shared.ingest import pipeline
from shared.ingest.events import events_of, land_events
from shared.ingest.landing import Batch, Landing, first_of
from shared.quality.expectations import referential

PEOPLE = Table("silver_test_people", (Column("person_id", "string", nullable=False),), key=("person_id",))
VISITS = Table(
    "silver_test_visits",
    (
        Column("visit_id", "string", nullable=False),
        Column("person_id", "string", nullable=False),
        Column("end_date", "date"),
    ),
    key=("visit_id",),
)


class Stream:
    """Takes batches of two tables; a visit is told by its id and may end later."""

    def __init__(self, spark: SparkSession, root: Path) -> None:
        self.spark, self.warehouse = spark, Warehouse(str(root / "warehouse"))

    def landing(self, table: Table) -> Landing:
        rules = [*pipeline.declared(Table(table.name, table.columns)), first_of(*table.key)]
        if table is VISITS:
            people = read(self.spark, self.warehouse.table(PEOPLE.name))
            rules.append(referential("person_id", people, "person_id"))
        newer_by = "end_date" if table is VISITS else None
        source = events_of("test")
        return Landing(self.spark, source, table, self.warehouse, rules, table.key, newer_by, max_failed_share=1.0)

    def take(self, number: int, *lines: str | bytes | None, may_be_repeat: bool = True) -> tuple[int, int, int]:
        rows = [(line.encode() if isinstance(line, str) else line, f"f{i}") for i, line in enumerate(lines)]
        given = self.spark.createDataFrame(rows, "_bytes binary, _source_file string")
        events = given.selectExpr("CAST(_bytes AS string) AS _line", "_source_file")
        stages = [{"people": partial(self.landing, PEOPLE)}, {"visits": partial(self.landing, VISITS)}]
        batch = Batch("a-stream", number, may_be_repeat)
        taken, strays = land_events(self.spark, events, batch, stages, self.warehouse.table("quarantine_test_events"))
        return sum(t.rows_written for t in taken.values()), sum(t.rows_quarantined for t in taken.values()), strays

    def visits(self) -> list[tuple[str, str | None]]:
        rows = read(self.spark, self.warehouse.table(VISITS.name)).selectExpr("visit_id", "CAST(end_date AS string)")
        return sorted(map(tuple, rows.collect()))

    def aside(self, name: str) -> list[str]:
        rows = read(self.spark, self.warehouse.table(f"quarantine_test_{name}")).collect()
        return sorted(failure["rule"] for row in rows for failure in row["_failures"])


def person(who: str) -> str:
    return f'{{"table": "people", "person_id": "{who}"}}'


def visit(name: str, who: str, end: str = "null") -> str:
    return f'{{"table": "visits", "visit_id": "{name}", "person_id": "{who}", "end_date": {end}}}'


@pytest.mark.slow
def test_every_event_is_in_a_table_or_put_aside_and_a_repeat_changes_nothing(
    spark: SparkSession, tmp_path: Path
) -> None:
    stream = Stream(spark, tmp_path)
    first = (
        visit("v1", "ann"),
        person("ann"),
        visit("v2", "bob"),
        "{]",
        '{"table": "cats"}',
        b'{"\xff": 1}',
        None,
        " ",
    )
    for there in (first, first, first[3:5], ()):  # files may be gone when their batch is tried again
        assert stream.take(0, *there) == (2, 1, 4)
    assert stream.visits() == [("v1", None)]
    assert (stream.aside("visits"), stream.aside("events")) == (["referential"], ["encoding", "json", "json", "table"])

    # The same again, late and in any order: an end is taken once, and nothing takes it back.
    again = (visit("v1", "ann"), visit("v3", "ann"), visit("v3", "ann", '"2026-01-03"'), person("ann"))
    assert stream.take(1, *again, may_be_repeat=False) == (1, 3, 0)
    assert stream.take(2, visit("v1", "ann", '"2026-01-02"'), may_be_repeat=False) == (1, 0, 0)
    assert stream.take(2, visit("v1", "ann", '"2026-01-02"')) == (1, 0, 0)
    assert stream.take(3, visit("v1", "ann"), visit("v1", "ann", '"2026-01-02"'), may_be_repeat=False) == (0, 2, 0)
    assert stream.visits() == [("v1", "2026-01-02"), ("v3", "2026-01-03")]
    assert history(spark, stream.warehouse.table(PEOPLE.name)).where("operation = 'WRITE'").count() == 1

    # A file that is gone when its batch is tried again: what landed of it stays.
    assert stream.take(3) == (0, 2, 0)
