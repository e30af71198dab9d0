"""Text from people and exports: one spelling for one value, and numbers, flags and dates that were written as text.

Row-wise expressions that learn nothing. What cannot be read becomes null: rows where that must not happen are a quality
rule's business, before.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final, Literal

import pandas as pd
from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.types import StringType

from shared.core.errors import ConfigError

# \h and \v are every horizontal and vertical space of Unicode, no-break and zero-width ones included.
_BLANKS: Final = r"[\h\v\x{200B}\x{FEFF}]+"
_TRUE: Final = ("true", "t", "yes", "y", "1", "on")
_FALSE: Final = ("false", "f", "no", "n", "0", "off")


def standardised(
    text: Column | str,
    *,
    case: Literal["lower", "upper", "keep"] = "lower",
    unicode: bool = True,
    synonyms: Mapping[str, Iterable[str]] | None = None,
) -> Column:
    """Return the text without outer blanks, inner runs of blanks as one, in one case and one Unicode form.

    Empty text is no value: null. Equal looks become equal text by Unicode's NFKC (full-width letters, ligatures,
    composed and decomposed accents); accents stay.

    Args:
        text: the column.
        case: case of the result.
        unicode: False leaves out the Unicode form, the one part that runs in Python; only text beyond ASCII goes there.
        synonyms: value → other spellings of it; both are standardised alike before they are compared, and values that
            are then the same are one.

    Raises:
        ConfigError: a spelling belongs to two values.
    """
    column = F.col(text) if isinstance(text, str) else text
    spelled = _spelled(_normal(column) if unicode else column, case)
    known = _known(synonyms or {}, case)
    for value, spellings in known.items():
        spelled = F.when(spelled.isin(spellings), F.lit(value)).otherwise(spelled)
    return spelled


def as_number(text: Column | str, *, decimal: str = ".", grouping: str = "") -> Column:
    """Return the number that a text shows, as double; null where it shows none, or NaN, or one beyond 1.8e308.

    Args:
        text: the column.
        decimal: the decimal mark, one character; no other is one.
        grouping: characters between groups of digits, which are taken out; blanks always are.
    """
    column = F.col(text) if isinstance(text, str) else text
    bare = F.translate(F.regexp_replace(column, _BLANKS, ""), grouping, "") if grouping else column
    bare = F.regexp_replace(bare, _BLANKS, "")
    mark = re.escape(decimal)
    is_number = bare.rlike(rf"\A[+-]?(\d+{mark}?\d*|{mark}\d+)([eE][+-]?\d+)?\z")
    number = F.translate(bare, decimal, ".").try_cast("double")
    return F.when(is_number & (F.abs(number) < F.lit(math.inf)), number)


def as_flag(text: Column | str, *, true: Iterable[str] = _TRUE, false: Iterable[str] = _FALSE) -> Column:
    """Return True or False for the spellings of either, null for any other; case and outer blanks do not matter."""
    spelled = standardised(text, unicode=False)
    return F.when(spelled.isin([item.lower() for item in true]), F.lit(True)).when(
        spelled.isin([item.lower() for item in false]), F.lit(False)
    )


def as_date(text: Column | str, *formats: str) -> Column:
    """Return the date that a text shows in the first of Spark's date ``formats`` that fits; null when none does.

    Raises:
        ConfigError: no format is given, since 03/04 is two dates.
    """
    if not formats:
        raise ConfigError("DATE_FORMAT_MISSING", "No date format.", "At least one, e.g. 'yyyy-MM-dd'.")
    column = F.trim(F.col(text) if isinstance(text, str) else text)
    return F.coalesce(*(F.try_to_timestamp(column, F.lit(form)).cast("date") for form in formats))


def _spelled(text: Column, case: str) -> Column:
    bare = F.nullif(F.trim(F.regexp_replace(text, _BLANKS, " ")), F.lit(""))
    match case:
        case "lower":
            return F.lower(bare)
        case "upper":
            return F.upper(bare)
    return bare


def _nfkc(column: Column) -> Column:
    # Made here, as only a running session tells classic from Connect; a nested function is sent whole, so the workers of
    # a cluster need not have this package.
    @pandas_udf(StringType())  # type: ignore[untyped-decorator, call-overload]
    def nfkc(text: pd.Series) -> pd.Series:
        return text.map(lambda value: unicodedata.normalize("NFKC", value), na_action="ignore")

    normal: Column = nfkc(column)
    return normal


def _normal(text: Column) -> Column:
    # A Python function is run for every row whatever stands around it: plain text is sent as null.
    is_plain = text.rlike(r"\A\p{ASCII}*\z")
    return F.when(is_plain, text).otherwise(_nfkc(F.when(~is_plain, text)))


def _known(synonyms: Mapping[str, Iterable[str]], case: str) -> dict[str, list[str]]:
    """Return the spellings of each value, all standardised, the value among them."""
    pairs = [
        (_plain(spelling, case), _plain(value, case))
        for value, others in synonyms.items()
        for spelling in (value, *others)
    ]
    value_of = dict(pairs)
    twice = sorted({spelling for spelling, value in pairs if value_of[spelling] != value})
    if twice:
        raise ConfigError("SYNONYM_AMBIGUOUS", f"{twice} belong to two values.", "Each spelling to one.")
    known: dict[str, list[str]] = {}
    for spelling, value in value_of.items():
        known.setdefault(value, []).append(spelling)
    return known


def _plain(value: str, case: str) -> str:
    spelled = " ".join(unicodedata.normalize("NFKC", value).split())
    return {"lower": spelled.lower(), "upper": spelled.upper(), "keep": spelled}[case]
