"""Does the exported model answer what Spark answers? On real rows, and on the rows that break exporters.

A table with fewer rows than are needed is filled up with drawn ones: each feature takes a value of any of its rows, so that
they meet in new combinations. Both engines get the same local rows, so that nothing but the model differs. Beyond the
tolerance the gates refuse to promote the model, and the service to serve it (`shared.deploy.online.compared`).
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pyspark.ml import Transformer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DoubleType,
    FloatType,
    IntegerType,
    IntegralType,
    LongType,
    StringType,
    StructField,
    StructType,
)

from shared.deploy.online.bundle import OnlineModel
from shared.deploy.online.compared import Parity
from shared.registry.gates import PARITY_ROWS

_ROW: Final = "_row"
# Not beyond: there sums overflow by the order an engine adds in. The service refuses what is no finite number.
_LARGE: Final = (0.0, -1.0, 1e12, -1e12, 1e-300)
_WHOLE: Final = (0, -1, 2**31 - 1, -(2**31))
_TEXTS: Final = ("", " ", "no such level", "Ünïcödé ☂", "a\x1fb", "x" * 10_000)


def compare(
    spark_model: Transformer,
    online: OnlineModel,
    rows: DataFrame,
    *,
    limit: int,
    tolerance: float,
    order: Sequence[str],
) -> Parity:
    """Score up to ``limit`` of ``rows`` with both models, drawn ones up to `PARITY_ROWS`, and edge cases made from the first.

    Args:
        spark_model: adds the column `online.contract.output`.
        online: the exported model.
        rows: rows with every feature of the contract.
        limit: so many of them, a sample by hash.
        tolerance: largest accepted difference of a probability.
        order: columns that tell rows apart, by whose hash they are sampled.
    """
    names = list(online.contract.inputs)
    sampled = rows.orderBy(F.xxhash64(*order), *order).limit(limit).select(*names)
    schema = StructType([StructField(field.name, field.dataType, True) for field in sampled.schema])
    real = [row.asDict() for row in sampled.collect()]  # at most ``limit`` rows
    drawn = list(_drawn(real, PARITY_ROWS - len(real)))
    edges = list(_edges(real[0], schema)) if real else []
    compared = real + drawn + edges
    if not compared:
        return Parity(rows=0, edge_rows=0, largest_difference=math.inf, tolerance=tolerance)
    output = online.contract.output
    local = rows.sparkSession.createDataFrame(
        [(place, *(row[name] for name in names)) for place, row in enumerate(compared)],
        StructType([StructField(_ROW, LongType(), False), *schema.fields]),
    )
    scored = spark_model.transform(local).select(_ROW, output).collect()
    expected = {row[_ROW]: row[output] for row in scored}
    found = online.probabilities(compared).tolist()
    differences = [_difference(expected.get(place), value) for place, value in enumerate(found)]
    return Parity(
        rows=len(compared),
        edge_rows=len(edges),
        drawn_rows=len(drawn),
        largest_difference=max(differences),
        tolerance=tolerance,
    )


def _drawn(rows: Sequence[Mapping[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """Give ``count`` rows, each value from any of ``rows``; the same rows give the same, and none give none."""
    draw = random.Random(0)
    for _ in range(count if rows else 0):
        yield {name: draw.choice(rows)[name] for name in rows[0]}


def _edges(row: Mapping[str, Any], schema: StructType) -> Iterator[dict[str, Any]]:
    """Give copies of a row with one feature at each of its edges, and rows with all of them null or extreme."""
    every = {field.name: _extremes(field.dataType) for field in schema}
    for name, values in every.items():
        yield from ({**row, name: value} for value in values)
    for place in range(max(len(values) for values in every.values())):
        yield {name: values[place % len(values)] for name, values in every.items()}


def _extremes(kind: DataType) -> list[Any]:
    match kind:
        case ArrayType():  # words: an empty text has none
            return [[], ["no such word"], ["x"] * 1_000]
        case StringType():
            return [None, *_TEXTS]
        case BooleanType():
            return [None, True, False]
        case IntegerType() | LongType():
            return [None, *_WHOLE]
        case IntegralType():
            return [None, 0, -1]
        case DoubleType() | FloatType():
            return [None, *_LARGE, math.nan]
    return [None]


def _difference(expected: float | None, found: float) -> float:
    has_none = expected is None or math.isnan(expected)
    if has_none or math.isnan(found):
        return 0.0 if has_none and math.isnan(found) else math.inf
    return abs(expected - found) if expected is not None else math.inf
