"""What a reader says about a record that does not parse, in the form of the quality rules' own failures."""

from pyspark.sql import Column
from pyspark.sql import functions as F

from shared.ingest.source import Source

_SHOWN = 80
_LIMITS = {"tinyint", "smallint", "int", "bigint", "integer", "long", "short", "byte"}


def failure(rule: str, column: str, value: Column, message: str) -> Column:
    """Return one failure; ``column`` is '' when it is about the whole record."""
    facts = {"rule": F.lit(rule), "column": F.lit(column), "value": value, "message": F.lit(message)}
    return F.struct(*(fact.alias(name) for name, fact in facts.items()), F.lit("error").alias("severity"))


def cut(text: Column | str) -> Column:
    """Return the first characters of a text, for a message."""
    return F.substring(text, 1, _SHOWN)


def none_when_empty(failures: Column) -> Column:
    """Return null instead of an empty array: a record that parsed has nothing to build or to store."""
    return F.when(F.size(failures) > 0, failures)


def typed(text: Column, kind: str, source: Source) -> Column:
    """Return the value a text stands for, null when it stands for none; blanks around it do not count."""
    trimmed = F.nullif(F.trim(text), F.lit(source.null_value))
    filled = F.nullif(trimmed, F.lit(""))
    match kind:
        case "string":
            return filled
        case "date":
            return F.try_to_date(filled, source.date_format)
        case "timestamp":
            return F.try_to_timestamp(filled, F.lit(source.timestamp_format))
        case _:
            return filled.try_cast(kind)


def type_failure(name: str, text: Column, kind: str, source: Source) -> Column:
    """Return the failure of a text that is no ``kind``; null when it is one, or blank."""
    filled = typed(text, "string", source)
    wrong = failure("type", name, cut(filled), f"must be {kind}")
    return F.when(filled.isNotNull() & typed(text, kind, source).isNull(), wrong)


def converted(value: Column, found: str, kind: str, source: Source) -> Column:
    """Return a value of type ``found`` as ``kind``; null when it does not fit, as 1.5 does not fit into an int."""
    if found == "string":
        return typed(value, kind, source)
    result = value.try_cast(kind)
    return F.when(result == value, result) if kind in _LIMITS and found not in _LIMITS else result
