"""What kind of values a sampled column holds: numbers and how they are written, dates and their pattern, truth, text.

Plain Python on a bounded sample. A column is of a kind when nearly all its values are; the rest would go to quarantine.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Final, Literal

Type = Literal["empty", "boolean", "whole", "number", "date", "timestamp", "text", "nested"]

MOST: Final = 0.98
NULL_MARKERS: Final = ("NA", "N/A", "n/a", "NULL", "null", "None", "?", "-", "nan", "NaN", r"\N", "#N/A")
_PLAIN: Final = (".", "")
# In this order: of formats that fit equally, the first. 1,234 is a thousand, since 12,5 would not fit in groups of three.
NUMBER_FORMATS: Final = (_PLAIN, (".", ","), (",", ""), (",", "."), (",", " "), (".", " "), (".", "'"))

_ISO = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?( ?(Z|[+-]\d\d:?\d\d))?)?\Z")
_TIMELY = re.compile(r"(?i)(date|time|stamp|_ts$|_at$|^ts$|epoch)")
# Spark's pattern → Python's; one letter reads one digit or two in both.
_DATES: Final = {
    "d.M.yyyy": "%d.%m.%Y",
    "d/M/yyyy": "%d/%m/%Y",
    "M/d/yyyy": "%m/%d/%Y",
    "yyyy/M/d": "%Y/%m/%d",
    "d-M-yyyy": "%d-%m-%Y",
    "d-MMM-yyyy": "%d-%b-%Y",
    "d MMM yyyy": "%d %b %Y",
    "yyyyMMdd": "%Y%m%d",
}
_CLOCKS: Final = {
    "": "",
    " H:mm": " %H:%M",
    " H:mm:ss": " %H:%M:%S",
    " h:mm a": " %I:%M %p",
    " h:mm:ss a": " %I:%M:%S %p",
}
_AMBIGUOUS: Final = {"d/M/yyyy": "M/d/yyyy", "M/d/yyyy": "d/M/yyyy"}
_UNIX: Final = {"unix_seconds": 1, "unix_millis": 1000}
_YEARS_1990_TO_2040: Final = (6.3e8, 2.21e9)
_TRIED: Final = 2_000
_FEW: Final = 20
_MARKED: Final = 0.01


@dataclass(frozen=True)
class Kind:
    """What the values of a column are.

    Args:
        type: ``whole`` and ``number`` are numbers, ``nested`` is no plain value.
        pattern: of dates and times: Spark's, empty for ISO 8601, or ``unix_seconds``, ``unix_millis``.
        doubt: why it may be another kind; empty where there is no doubt.
    """

    type: Type
    pattern: str = ""
    doubt: str = ""

    @property
    def is_number(self) -> bool:
        """A number, whole or not."""
        return self.type in ("whole", "number")

    @property
    def is_time(self) -> bool:
        """A date or a time."""
        return self.type in ("date", "timestamp")


@dataclass(frozen=True)
class Sampled:
    """A column of a sample.

    Args:
        name: in the source.
        kind: of its values.
        texts: one a row, as the source writes it; None for no value.
        numbers: of numbers their value, of dates and times the seconds since 1970, of truth 0 and 1; else None.
    """

    name: str
    kind: Kind
    texts: Sequence[str | None]
    numbers: Sequence[float | None]


def null_marker(columns: Iterable[Sequence[str | None]]) -> str:
    """Return the text that stands for no value most often, empty when none does in a hundredth of any column.

    >>> null_marker([["1", "NA"], ["x", "NA"]]), null_marker([["1", "2"]])
    ('NA', '')
    """
    found: Counter[str] = Counter()
    for values in columns:
        counted = Counter(text for text in values if text in NULL_MARKERS)
        found.update({text: count for text, count in counted.items() if text and count >= _MARKED * len(values)})
    return found.most_common(1)[0][0] if found else ""


def number_format(columns: Iterable[Sequence[str | None]]) -> tuple[str, str]:
    """Return decimal point and thousands mark with which most columns are numbers.

    >>> number_format([["1.234,5", "12,0"], ["7", "8"]])
    (',', '.')
    >>> number_format([["1,234", "1,234.5"]]), number_format([["0,5"]])
    (('.', ','), (',', ''))
    """
    filled = [_spread([text for text in values if text]) for values in columns]
    filled = [values for values in filled if not _is_mostly(values, _reader(*_PLAIN))] or filled
    fits = {marks: sum(_is_mostly(values, _reader(*marks)) for values in filled) for marks in NUMBER_FORMATS}
    return max(NUMBER_FORMATS, key=lambda marks: fits[marks])


def kind_of(name: str, texts: Sequence[str | None], marks: tuple[str, str] = _PLAIN) -> Kind:
    """Return the kind of a column of texts.

    Args:
        name: of the column; whole numbers are times only when it says so.
        texts: None for no value.
        marks: decimal point and thousands mark, from `number_format`.

    >>> kind_of("x", ["1", "2", None]).type, kind_of("zip", ["01234", "99999"]).type
    ('whole', 'text')
    >>> kind_of("day", ["31.12.2024", "1.2.2024"])
    Kind(type='date', pattern='d.M.yyyy', doubt='')
    >>> kind_of("at", ["1/31/2024 1:05:09 PM", "12/1/2024 11:00:00 AM"]).pattern
    'M/d/yyyy h:mm:ss a'
    """
    values = _spread([text for text in texts if text is not None])
    if not values:
        return Kind("empty")
    if _is_mostly(values, _truth):
        return Kind("boolean")
    if dated := _date_kind(values):
        return dated
    if _is_mostly(values, _reader(*marks)) and not any(re.match(r"0\d", text) for text in values):
        return numeric_kind(name, values, marks)
    return Kind("text")


def numeric_kind(name: str, values: Sequence[str], marks: tuple[str, str] = _PLAIN) -> Kind:
    """Return whether numbers are whole, or times in seconds or milliseconds, which the name has to say.

    >>> numeric_kind("timestamp", ["881250949"]), numeric_kind("amount", ["881250949"]).type
    (Kind(type='timestamp', pattern='unix_seconds', doubt=''), 'whole')
    """
    read = _reader(*marks)
    written = [text for text in values if read(text) is not None]
    numbers = [read(text) or 0.0 for text in written]
    if not all(number.is_integer() for number in numbers):
        return Kind("number")
    low, high = _YEARS_1990_TO_2040 if _TIMELY.search(name) else (1.0, 0.0)
    for pattern, unit in _UNIX.items():
        if all(low * unit <= number <= high * unit for number in numbers):
            return Kind("timestamp", pattern)
    has_point = any(marks[0] in text for text in written)
    return Kind("number" if has_point else "whole")


def as_time(column: Sampled) -> Sampled:
    """Return a column that is known to be a time: whole numbers of fitting size are seconds or milliseconds since 1970."""
    if column.kind.type != "whole":
        return column
    kind = numeric_kind("time", [text for text in column.texts if text is not None])
    return Sampled(column.name, kind, column.texts, numbers_of(column.texts, kind))


def numbers_of(texts: Sequence[str | None], kind: Kind, marks: tuple[str, str] = _PLAIN) -> list[float | None]:
    """Return the numbers behind the texts, as `Sampled.numbers` describes them; None where a text is no such value."""
    read: Callable[[str], float | None]
    if kind.type == "boolean":
        read = _truth
    elif kind.pattern in _UNIX:
        numbers = numbers_of(texts, Kind("number"), marks)
        return [None if number is None else number / _UNIX[kind.pattern] for number in numbers]
    elif kind.is_time:
        read = _moment(_python(kind.pattern))
    elif kind.is_number:
        read = _reader(*marks)
    else:
        return [None] * len(texts)
    return [None if text is None else read(text) for text in texts]


def _spread(values: list[str]) -> list[str]:
    """Return at most so many values as are tried, evenly spread."""
    return values[:: -(-len(values) // _TRIED) or 1]


def _is_mostly(values: Sequence[str], read: Callable[[str], float | None]) -> bool:
    few = values[:_FEW]
    if not few or sum(read(text) is not None for text in few) < 0.75 * len(few):
        return False
    return sum(read(text) is not None for text in values) >= MOST * len(values)


def _truth(text: str) -> float | None:
    return {"true": 1.0, "false": 0.0}.get(text.lower())


@cache
def _reader(point: str, group: str) -> Callable[[str], float | None]:
    whole = rf"(?:[1-9]\d{{0,2}}(?:{re.escape(group)}\d{{3}})+|\d+)" if group else r"\d+"
    written = re.compile(rf"[+-]?(?=[\d{re.escape(point)}]){whole}?(?:{re.escape(point)}\d*)?(?:[eE][+-]?\d+)?\Z")

    def read(text: str) -> float | None:
        if not written.match(text) or not any(sign.isdigit() for sign in text):
            return None
        return float((text.replace(group, "") if group else text).replace(point, "."))

    return read


def _date_kind(values: Sequence[str]) -> Kind | None:
    if _is_mostly(values, _moment("")):
        return Kind("timestamp" if any(len(text) > 10 for text in values) else "date")
    fitting = [
        (pattern, clock)
        for pattern, python in _DATES.items()
        for clock, own in _CLOCKS.items()
        if _is_mostly(values, _moment(python + own))
    ]
    if not fitting:
        return None
    pattern, clock = fitting[0]
    other = _AMBIGUOUS.get(pattern, "")
    doubt = f"the same texts can be read as {other}" if (other, clock) in fitting else ""
    return Kind("timestamp" if clock else "date", pattern + clock, doubt)


def _python(pattern: str) -> str:
    day, space, clock = pattern.partition(" H") if " H" in pattern else pattern.partition(" h")
    return _DATES.get(day, "") + _CLOCKS.get(space + clock, "")


@cache
def _moment(python: str) -> Callable[[str], float | None]:
    def read(text: str) -> float | None:
        try:
            if not python and not _ISO.match(text):
                return None
            found = datetime.strptime(text, python) if python else datetime.fromisoformat(text.replace(" Z", "Z"))
        except ValueError:
            return None
        if python and not 1900 <= found.year <= 2100:
            return None
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()

    return read
