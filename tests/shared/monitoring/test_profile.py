"""Profiles on Spark: every number against one worked out from the rows in Python."""

import math
import random
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyspark import cloudpickle
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.monitoring import counting
from shared.monitoring.bins import ColumnBins, edges, learn
from shared.monitoring.counting import Marks
from shared.monitoring.profile import Profile, profile
from shared.monitoring.watch import frequent, limited

Row = tuple[str, str | None, float | None, int | None, str | None]


def made(count: int) -> list[Row]:
    draw = random.Random(8)
    rows: list[Row] = []
    for place in range(count):
        window = draw.choice(["2024-01-01", "2024-02-01"])
        value = draw.choice([None, math.nan, draw.gauss(1e6, 1.0), draw.gauss(1e6, 1.0)])
        rows.append((window, draw.choice(["a", "b", None]), value, place % 7, draw.choice(["x", "y", "z", None])))
    return rows


ROWS = made(600)


@pytest.fixture(scope="module")
def table(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(ROWS, "window string, part string, value double, whole int, level string").cache()


@pytest.fixture(scope="module")
def bins(table: DataFrame) -> list[ColumnBins]:
    return learn(table, numeric=["value", "whole"], categorical=["level"], max_levels=2)


def test_bins_are_tenths_of_numbers_and_the_most_frequent_levels(bins: list[ColumnBins]) -> None:
    value, whole, level = bins
    known = [row[2] for row in ROWS if row[2] is not None and not math.isnan(row[2])]

    assert np.allclose(value.edges, np.quantile(known, np.arange(1, 10) / 10), atol=0.05)
    assert value.center == pytest.approx(np.mean(known))
    assert whole.edges == (1, 2, 3, 4, 5, 6)
    counted = Counter(row[4] for row in ROWS if row[4])
    assert set(level.levels) == {name for name, _ in counted.most_common(2)}
    assert (level.is_complete, level.count) == (False, 3)
    assert [ColumnBins.of(each.as_dict()) for each in bins] == bins


def test_a_column_without_values_has_one_bin_and_one_with_few_values_has_few() -> None:
    assert edges([]) == ()
    assert edges([5.0] * 101) == ()
    assert edges([0.0] * 97 + [1.0] * 4) == (1.0,)
    assert len(edges([0.0] * 85 + [float(place) for place in range(16)])) <= 9


def test_a_profile_is_what_counting_the_rows_gives(table: DataFrame, bins: list[ColumnBins]) -> None:
    found = profile(table.repartition(3), bins, window=F.col("window"), slices={"part": F.col("part")})

    assert len(found) == 2 * (1 + 3) * 3  # windows, all rows and three parts, columns
    for each in found:
        mine = [
            row
            for row in ROWS
            if row[0] == each.window
            and each.slice_key in (None, "part")
            and (each.slice_key is None or (row[1] or "(none)") == each.slice_value)
        ]
        checked(each, mine, {b.name: b for b in bins}[each.column])


def checked(found: Profile, rows: list[Row], bins: ColumnBins) -> None:
    place = {"value": 2, "whole": 3, "level": 4}[found.column]
    values = [row[place] for row in rows if row[place] is not None and row[place] == row[place]]
    assert (found.rows, found.nulls) == (len(rows), len(rows) - len(values))
    if found.column == "level":
        expected = [values.count(level) for level in bins.levels]
        assert found.counts == (*expected, len(values) - sum(expected))
        assert found.mean is found.least is None
        return
    counts = np.bincount(np.searchsorted(bins.edges, values, "right"), minlength=bins.count)
    assert found.counts == tuple(counts)
    assert (found.least, found.greatest) == (min(values), max(values))
    assert found.mean == pytest.approx(np.mean(values))
    assert found.deviation == pytest.approx(np.std(values), abs=1e-6)  # around a million: no digits are lost


def test_without_window_and_slices_all_rows_are_one(table: DataFrame, bins: list[ColumnBins]) -> None:
    found = profile(table, bins)

    assert [(each.window, each.slice_key, each.rows) for each in found] == [("all", None, 600)] * 3
    assert profile(table.limit(0), bins) == []


def test_batches_of_a_task_add_up_also_where_one_has_no_value() -> None:
    columns = [Marks(True, (2.0,), 1.0)]
    batches = [
        pa.RecordBatch.from_arrays([pa.array(["w"] * len(values)), pa.array(values, pa.float64())], ["w", "x"])
        for values in ([1.0, 5.0], [np.nan, np.nan], [], [2.0])
    ]

    (counted,) = counting.count(iter(batches), columns, 0)

    cells = {row["cell"]: row["value"] for row in counted.to_pylist()}
    assert cells == {
        0: 1, 1: 2, counting.NULLS: 2, counting.SUM: 5.0, counting.SQUARES: 17.0, counting.LEAST: 1.0, counting.GREATEST: 5.0
    }  # fmt: skip


def test_a_task_whose_rows_have_no_value_changes_no_bound(spark: SparkSession) -> None:
    values = [(None,)] * 40 + [(1.0,), (5.0,)] * 20
    rows = spark.createDataFrame(values, "x double").repartitionByRange(2, F.col("x").asc_nulls_first())
    parts = rows.groupBy(F.spark_partition_id()).agg(F.count("x")).collect()
    assert sorted(part[1] for part in parts) == [0, 40]

    (found,) = profile(rows, [ColumnBins("x", "numeric", edges=(2.0,))])

    assert (found.least, found.greatest, found.nulls, found.mean) == (1.0, 5.0, 40, 3.0)


def test_slices_of_later_rows_are_those_of_the_first(spark: SparkSession) -> None:
    first = spark.createDataFrame([(v,) for v in ("a", "a", "b", "c", None, None, None)], "s string")
    later = spark.createDataFrame([(v,) for v in ("c", "c", "d", "a", None)], "s string")

    kept = frequent(first, {"s": F.col("s")}, 2)

    assert kept == {"s": ["a", "b"]}  # of b and c, which are as frequent, the first by name
    counts = later.groupBy(limited({"s": F.col("s")}, kept)["s"].alias("s")).count().collect()
    assert {row["s"]: row["count"] for row in counts} == {"(other)": 3, "a": 1, None: 1}


def test_the_counting_runs_where_this_package_is_not(tmp_path: Path) -> None:
    counted = partial(counting.count, columns=[Marks(True, (2.0,), 0.0)], slice_count=0)
    (tmp_path / "function").write_bytes(cloudpickle.dumps(counted))
    script = (
        "import pickle, sys, pyarrow as pa, pyspark.cloudpickle\n"
        "count = pickle.load(open('function', 'rb'))\n"
        "batch = pa.RecordBatch.from_arrays([pa.array(['w', 'w']), pa.array([1.0, 5.0])], ['w', 'x'])\n"
        "print([row['value'] for out in count(iter([batch])) for row in out.to_pylist()][:2])\n"
        "assert not any(name.split('.')[0] == 'shared' for name in sys.modules)\n"
    )

    done = subprocess.run(
        [sys.executable, "-I", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.stdout == "[1.0, 1.0]\n", done.stderr
