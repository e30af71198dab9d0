"""Counting Arrow batches of rows, column by column, in a Python worker of Spark.

This module is sent to the workers as it is, so it may import nothing but numpy and pyarrow.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

# What a number of a task is: rows in a bin, from 0 on, or one of these.
NULLS, SUM, SQUARES, LEAST, GREATEST = -1, -2, -3, -4, -5
NO_HASH = 0
CELLS = "window string, slice_place int, slice_value string, column_place int, cell int, value double"

_TYPES = (pa.string(), pa.int32(), pa.string(), pa.int32(), pa.int32(), pa.float64())
_MOMENTS = (SUM, SQUARES, LEAST, GREATEST)


class Marks(NamedTuple):
    """How a column is counted: a number by the bounds of its bins, another value by the hashes of its levels."""

    is_number: bool
    marks: tuple[float, ...] | tuple[int, ...]
    center: float


class Grouping(NamedTuple):
    """Rows of a batch by window and slice: keys of the groups, the order that puts them side by side, where each starts."""

    place: int
    keys: list[tuple[str, str | None]]
    order: Any
    starts: Any
    sizes: Any


def count(batches: Iterator[pa.RecordBatch], columns: Sequence[Marks], slice_count: int) -> Iterator[pa.RecordBatch]:
    """Count the batches of a task and return one batch of `CELLS`.

    Args:
        batches: the window as text, null where all rows are in one, the slices as texts, then the columns without nulls:
            doubles, NaN where a value is missing, or hashes, `NO_HASH` where it is.
        columns: how each is counted.
        slice_count: how many slices there are.
    """
    totals: dict[tuple[int, int, str, str | None], Any] = {}
    for batch in batches:
        if not batch.num_rows:
            continue
        groupings = [_grouping(batch, place) for place in range(slice_count + 1)]
        for place, column in enumerate(columns):
            values = batch.column(1 + slice_count + place).to_numpy()
            counted = _of_number if column.is_number else _of_category
            for grouping in groupings:
                own = values if grouping.order is None else values[grouping.order]
                held = np.array(counted(own, column, grouping), dtype=float).T
                for key, new in zip(grouping.keys, held, strict=True):
                    _add(totals, (grouping.place, place, *key), new, column.is_number)
    yield _batch(totals, columns)


def _grouping(batch: pa.RecordBatch, place: int) -> Grouping:
    names, group = ["all"], np.zeros(batch.num_rows, dtype=np.int64)
    if batch.column(0).null_count < batch.num_rows:
        windows = batch.column(0).dictionary_encode()
        names, group = windows.dictionary.to_pylist(), np.asarray(windows.indices.fill_null(0), dtype=np.int64)
    values: list[str | None] = [None]
    if place:
        parts = batch.column(place).dictionary_encode()
        values = parts.dictionary.to_pylist()
        group = group * len(values) + np.asarray(parts.indices)
    if len(names) * len(values) == 1:
        return Grouping(place, [(names[0], values[0])], None, np.array([0]), np.array([batch.num_rows]))
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    keys = [(names[g // len(values)], values[g % len(values)]) for g in ordered[starts].tolist()]
    return Grouping(place, keys, order, starts, np.diff(np.append(starts, batch.num_rows)))


def _of_number(values: Any, column: Marks, grouping: Grouping) -> list[Any]:
    is_missing = np.isnan(values)
    missing = _rows(is_missing, grouping)
    # A missing value is in no bin: compared with NaN, all is false.
    at_least = [grouping.sizes - missing, *(_rows(values >= mark, grouping) for mark in column.marks), 0]
    away = values - column.center
    away[is_missing] = 0.0
    moments = [np.add.reduceat(away, grouping.starts), np.add.reduceat(away * away, grouping.starts)]
    bounds = [np.fmin.reduceat(values, grouping.starts), np.fmax.reduceat(values, grouping.starts)]
    return [*(low - high for low, high in pairwise(at_least)), missing, *moments, *bounds]


def _of_category(hashes: Any, column: Marks, grouping: Grouping) -> list[Any]:
    missing = _rows(hashes == NO_HASH, grouping)
    levels = [_rows(hashes == mark, grouping) for mark in column.marks]
    return [*levels, grouping.sizes - missing - sum(levels), missing]


def _rows(is_counted: Any, grouping: Grouping) -> Any:
    """Return how many rows of each group are counted."""
    if len(grouping.starts) == 1:  # many times faster than the general way
        return np.array([np.count_nonzero(is_counted)])
    return np.add.reduceat(is_counted, grouping.starts, dtype=np.int64)


def _add(totals: dict[Any, Any], key: tuple[int, int, str, str | None], new: Any, is_number: bool) -> None:
    old = totals.get(key)
    if old is None:
        totals[key] = new
        return
    bounds = np.fmin(old[-2], new[-2]), np.fmax(old[-1], new[-1])
    old += new
    if is_number:
        old[-2:] = bounds


def _batch(totals: dict[Any, Any], columns: Sequence[Marks]) -> pa.RecordBatch:
    """Return the numbers of a task; least and greatest of no value are NaN and left out: to Spark NaN is the largest."""
    lines = []
    for (grouping, place, window, value), held in totals.items():
        bins = len(columns[place].marks) + 1
        numbered = [*enumerate(held[:bins]), (NULLS, held[bins])]
        numbered += zip(_MOMENTS, held[bins + 1 :], strict=False)
        lines += [
            (window, grouping, value, place, cell, float(number)) for cell, number in numbered if number == number
        ]
    columns_ = list(zip(*lines, strict=True)) or [()] * len(_TYPES)
    names = [part.split()[0] for part in CELLS.split(", ")]
    return pa.RecordBatch.from_arrays([pa.array(c, t) for c, t in zip(columns_, _TYPES, strict=True)], names=names)
