"""What the SQL of a saved pipeline may say: one SELECT of plain expressions over the rows it is given.

SQL can read files, tables and secrets and call other programs. So a statement is parsed, and nothing in it is allowed but
what is listed here. Where Spark would read it otherwise than the parser does, it is refused before it is parsed.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import SqlglotError

# No clock, chance, session, file or partition, no XML (it may name files), nothing that fails, aggregates or makes rows.
_PURE: Final[Mapping[str, str]] = {
    "numbers": "abs acos acosh asin asinh atan atan2 atanh bigint bin bit_count bit_get boolean bround cbrt ceil ceiling "
    "conv cos cosh cot csc decimal degrees double e exp expm1 factorial float floor getbit greatest hypot int "
    "isnan least ln log log10 log1p log2 mod nanvl negative pi pmod positive pow power radians rint round sec "
    "shiftleft shiftright shiftrightunsigned sign signum sin sinh smallint sqrt tan tanh tinyint try_add "
    "try_divide try_mod try_multiply try_subtract width_bucket zeroifnull",
    "texts": "ascii base64 binary bit_length btrim char char_length character_length chr collate collation concat "
    "concat_ws contains decode elt encode endswith find_in_set format_number format_string hex ilike initcap "
    "instr is_valid_utf8 lcase left len length levenshtein like locate lower lpad ltrim luhn_check "
    "make_valid_utf8 mask octet_length overlay parse_url position printf quote regexp regexp_count "
    "regexp_extract regexp_extract_all regexp_instr regexp_like regexp_replace regexp_substr repeat replace "
    "right rlike rpad rtrim sentences soundex space split split_part startswith string substr substring "
    "substring_index to_binary to_char to_number to_varchar translate trim try_parse_url try_to_binary "
    "try_to_number try_url_decode try_validate_utf8 ucase unbase64 unhex upper url_decode url_encode "
    "validate_utf8 varchar",
    "times": "add_months convert_timezone date date_add date_diff date_format date_from_unix_date date_part date_sub "
    "date_trunc dateadd datediff datepart day dayname dayofmonth dayofweek dayofyear extract from_unixtime "
    "from_utc_timestamp hour last_day make_date make_dt_interval make_interval make_timestamp "
    "make_timestamp_ltz make_timestamp_ntz make_ym_interval minute month monthname months_between next_day "
    "quarter second timestamp timestamp_micros timestamp_millis timestamp_seconds timestampadd timestampdiff "
    "to_date to_timestamp to_timestamp_ltz to_timestamp_ntz to_unix_timestamp to_utc_timestamp trunc "
    "try_make_interval try_make_timestamp try_to_date try_to_timestamp unix_date unix_micros unix_millis "
    "unix_seconds unix_timestamp weekday weekofyear year",
    "nested": "aggregate array array_append array_compact array_contains array_distinct array_except array_insert "
    "array_intersect array_join array_max array_min array_position array_prepend array_remove array_repeat "
    "array_size array_sort array_union arrays_overlap arrays_zip cardinality element_at exists filter flatten "
    "forall get map map_concat map_contains_key map_entries map_filter map_from_arrays map_from_entries "
    "map_keys map_values map_zip_with named_struct reduce reverse sequence size slice sort_array str_to_map "
    "struct transform transform_keys transform_values try_element_at zip_with from_csv from_json "
    "get_json_object json_array_length json_object_keys to_csv to_json",
    "others": "cast coalesce equal_null if ifnull isnotnull isnull nullif nullifzero nvl nvl2 try_cast typeof crc32 hash "
    "md5 sha sha1 sha2 xxhash64",
}
FUNCTIONS: Final = frozenset(name for names in _PURE.values() for name in names.split())

# Before a parenthesis these are no functions.
_KEYWORDS: Final = frozenset(
    ("select", "and", "or", "not", "in", "case", "when", "then", "else", "between", "except", "like", "rlike", "div")
)
# Names that Spark reads from the session, the clock or the file where the rows have no such column, in quotes or not.
FROM_OUTSIDE: Final = frozenset(
    (
        *("_metadata", "current_date", "current_path", "current_time", "current_timestamp", "current_user"),
        *("localtimestamp", "session_user", "user"),
    )
)
_VARIABLES: Final = frozenset({"session", "system"})  # what begins with these is a variable of the session
_PLAIN: Final = (
    *(exp.Star, exp.Column, exp.Identifier, exp.Literal, exp.HexString, exp.Boolean, exp.Null, exp.Var, exp.Interval),
    *(exp.DataType, exp.DataTypeParam, exp.ColumnDef, exp.Lambda, exp.Bracket, exp.Tuple, exp.Between, exp.In),
    *(exp.Binary, exp.Unary, exp.Func, exp.JSONPath, exp.JSONPathPart),
)

# As Spark's lexer reads them: texts, which are data, and names in quotes.
_QUOTED: Final = re.compile(
    r"""(?isx) (?P<text> (?<!\w) r'[^']*' | '(?: [^'\\] | \\. | '' )*' ) | `(?: [^`] | `` )*` """
)
# The clause that runs a script, the query that the parser takes for a name, comments, pipes, a text that may be a name in
# another mode of Spark, quotes that do not end, and letters that Spark may take for those of a keyword.
_READ_OTHERWISE: Final = re.compile(r"(?i)\busing\b(?!\s*\()|\btable\b|/\*|--|\|>|['\"`$;{}]|(?-i:[^\x00-\x7f])")
_QUERY: Final = re.compile(r"(?i)\A\s*select\b")


def flaw(statement: Any) -> str | None:
    """Tell what a statement says that it may not say, as the end of a sentence about it; None when it may be run.

    >>> flaw("SELECT *, abs(x) AS y FROM __THIS__")
    >>> flaw("SELECT secret('prod', 'db') AS y FROM __THIS__")
    "calls the function 'secret'"
    """
    if not isinstance(statement, str) or not _QUERY.match(statement):
        return "is no SELECT"
    # Spark puts settings and variables of the environment in place of these first, in texts too.
    found = re.search(r"\$\{", statement) or _READ_OTHERWISE.search(_QUOTED.sub(" ", statement))
    if found:
        return f"uses {found[0]}"
    without_texts = _QUOTED.sub(lambda quoted: "'0'" if quoted["text"] else quoted[0], statement)
    try:
        tokens = sqlglot.tokenize(without_texts, dialect="spark")
        (select,) = sqlglot.parse(without_texts, dialect="spark")
    except (SqlglotError, RecursionError, ValueError):
        return "cannot be read"
    calls = (written for name, written in _calls(tokens) if name not in FUNCTIONS)
    if (call := next(calls, None)) is not None:
        return f"calls the function {call!r}"
    if not isinstance(select, exp.Select) or not _is_of_its_rows(select):
        return "is not of the form SELECT … FROM __THIS__"
    terms = (term.this if isinstance(term, exp.Alias) else term for term in select.expressions)
    return next(filter(None, (_flaw_of(node) for term in terms for node in term.walk())), None)


def _calls(tokens: list[Any]) -> Iterator[tuple[str, str]]:
    """Give what stands before each parenthesis as a name to look up and as it is written.

    Names are compared as written, since the parser gives many functions another one.
    """
    before = None
    for token, following in pairwise(tokens):
        is_quoted = token.token_type == TokenType.IDENTIFIER
        is_word = is_quoted or any(letter.isalnum() or letter == "_" for letter in token.text)
        if following.token_type == TokenType.L_PAREN and is_word:
            name = token.text.lower()
            # What a schema holds under the name is somebody's own.
            if before == TokenType.DOT:
                yield "", f"….{token.text}"
            elif is_quoted or name not in _KEYWORDS:
                yield name, token.text
        before = token.token_type


def _is_of_its_rows(select: exp.Select) -> bool:
    parts = _parts(select)
    source = parts.pop("from_", None) or parts.pop("from", None)
    table = source.this if source and set(_parts(source)) == {"this"} else None
    return (
        set(parts) == {"expressions"}
        and isinstance(table, exp.Table)
        and set(_parts(table)) == {"this"}
        and isinstance(table.this, exp.Identifier)
        and table.name == "__THIS__"
    )


def _parts(node: Any) -> dict[str, Any]:
    return {name: value for name, value in node.args.items() if value}


def _flaw_of(node: Any) -> str | None:
    if not isinstance(node, _PLAIN):
        return f"holds a part of the kind {type(node).__name__}"
    if isinstance(node, exp.Column) and len(node.parts) > 1 and _folded(node.parts[0].name) in _VARIABLES:
        return f"reads from {node.parts[0].name}"
    name = node.name if isinstance(node, exp.Identifier) else node.sql_name() if isinstance(node, exp.Func) else ""
    return f"reads {name}" if _folded(name) in FROM_OUTSIDE else None


def _folded(name: str) -> str:
    """Return what Spark takes ``name`` for, which it compares letter by letter.

    >>> _folded("ſeſſıon_Uſer"), _folded("Höhe")
    ('session_user', 'höhe')
    """
    return "".join(letter.upper().lower()[0] for letter in name)
