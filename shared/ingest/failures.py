"""What a reader says about a record that does not parse, in the form of the quality rules' own failures.

The expressions are driven by arrays of names instead of one branch a column: a branch for each would make the code that
runs for every good record too large for the JVM to compile.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from shared.ingest.source import Source
from shared.quality.expectations import FAILURE_TYPE

RECORD_RULES: Final[Mapping[str, str]] = {
    "fields": "must have as many fields as the header",
    "quote": "must close its quotes; set multiline when a record spans lines",
    "json": "must be a JSON object",
    "undeclared": "must have declared columns only",
    "encoding": "must be in the encoding of the source",
    "table": "must name one of the tables in its field 'table'",
}
_SHOWN = 80
_WHOLE = {"tinyint", "smallint", "int", "bigint"}
_UNIX = {"unix_seconds": 1, "unix_millis": 1000}


@dataclass(frozen=True)
class Parsed:
    """What a reader makes of a source.

    Args:
        rows: the declared columns, `_source_file`, `_raw`, and what ``failures`` looks at besides.
        failures: of a row, what did not parse, as an array of failures; null where all did. It is not one of the rows'
            columns, so that whoever stores them can compute it last: Spark compiles nothing that comes after it.
    """

    rows: DataFrame
    failures: Column


def failure(rule: Column, column: Column, value: Column, message: Column) -> Column:
    """Return one failure; ``column`` is '' when it is about the whole record."""
    facts = {"rule": rule, "column": column, "value": F.substring(value, 1, _SHOWN), "message": message}
    return F.struct(*(fact.alias(name) for name, fact in facts.items()), F.lit("error").alias("severity"))


def record_failure(rule: Column, value: Column) -> Column:
    """Return the failures, one, of a record that breaks ``rule``, a key of `RECORD_RULES`; null when ``rule`` is."""
    messages = F.create_map(*(F.lit(text) for pair in RECORD_RULES.items() for text in pair))
    one = F.array(failure(rule, F.lit(""), value, F.element_at(messages, rule)))
    return F.when(rule.isNotNull(), one).cast(FAILURE_TYPE)


def type_failures(texts: Mapping[str, Column], kinds: Mapping[str, str]) -> Column:
    """Return the failures of the columns that are null though their text is not; an empty array when there is none.

    Args:
        texts: column → its text, before it was converted.
        kinds: column → its type.
    """
    if not texts:
        return F.array().cast(FAILURE_TYPE)
    names = F.array(*map(F.lit, texts))
    messages = F.array(*(F.lit(f"must be {kinds[name]}") for name in texts))
    filled = F.array(*(F.nullif(F.trim(text), F.lit("")) for text in texts.values()))
    empty = F.array(*(F.col(name).isNull() for name in texts))
    places = F.sequence(F.lit(0), F.lit(len(texts) - 1))
    wrong = F.filter(places, lambda at: F.get(empty, at) & F.get(filled, at).isNotNull())

    def described(at: Column) -> Column:
        return failure(F.lit("type"), F.get(names, at), F.get(filled, at), F.get(messages, at))

    return F.transform(wrong, described).cast(FAILURE_TYPE)


def none_when_empty(failures: Column) -> Column:
    """Return null instead of an empty array: a record that parsed has nothing to store."""
    return F.when(F.size(failures) > 0, failures)


def parsed_type(name: str, kind: str, source: Source) -> str:
    """Return the type Spark's own parser is to give a column: text where `typed` does it, quicker or stricter."""
    if kind in ("date", "timestamp"):
        pattern = source.date_format if kind == "date" else source.timestamp_format
        return "string" if not pattern or name in source.formats or pattern in _UNIX else kind
    return "string" if _is_number(kind) and _writes_otherwise(source) else kind


def typed(text: Column, kind: str, source: Source) -> Column:
    """Return the value a text stands for; null when it is blank, the source's null value or no ``kind``.

    Dates and timestamps without a format are ISO 8601 from the year on: Spark alone would take ``12:30`` for a time of
    today and ``2024`` for the first of January.
    """
    shown = F.trim(text)
    if source.null_value:
        shown = F.nullif(shown, F.lit(source.null_value))
    filled = F.nullif(shown, F.lit(""))
    # Without a format a blank is no date anyway, and Spark trims a text once where no nullif is in the way.
    has_year = F.instr(shown, "-") == 5
    match kind:
        case "string":
            return filled
        case "date" if source.date_format:
            return F.try_to_date(filled, source.date_format)
        case "date":
            return F.when(has_year & (F.length(shown) == 10), shown.try_cast("date"))
        case "timestamp" if source.timestamp_format in _UNIX:
            return F.timestamp_seconds(filled.try_cast("double") / _UNIX[source.timestamp_format])
        case "timestamp" if source.timestamp_format:
            return F.try_to_timestamp(filled, F.lit(source.timestamp_format))
        case "timestamp":
            return F.when(has_year & (F.length(shown) >= 10), shown.try_cast("timestamp"))
        case _ if _is_number(kind) and _writes_otherwise(source):
            return _plain_number(filled, source).try_cast(kind)
        case _:
            return filled.try_cast(kind)


def _is_number(kind: str) -> bool:
    return kind in _WHOLE or kind in ("double", "float") or kind.startswith("decimal")


def _writes_otherwise(source: Source) -> bool:
    return source.decimal != "." or bool(source.thousands)


def _plain_number(text: Column, source: Source) -> Column:
    """Return a number as Spark writes it; null for one whose groups are not of three, which may be another format."""
    group, point = re.escape(source.thousands), re.escape(source.decimal)
    whole = rf"(\d{{1,3}}({group}\d{{3}})+|\d+)" if source.thousands else r"\d+"
    is_number = text.rlike(rf"\A[+-]?({whole})?({point}\d+)?([eE][+-]?\d+)?\z")
    ungrouped = F.replace(text, F.lit(source.thousands)) if source.thousands else text
    return F.when(is_number, F.replace(ungrouped, F.lit(source.decimal), F.lit(".")))


def converted(value: Column, found: str, kind: str, source: Source) -> Column:
    """Return a value of type ``found`` as ``kind``; null when it does not fit, as 1.5 does not fit into an int."""
    if found == "string" or (kind == "timestamp" and source.timestamp_format in _UNIX):
        return typed(value.cast("string"), kind, source)
    result = value.try_cast(kind)
    return F.when(result == value, result) if kind in _WHOLE and found not in _WHOLE else result
