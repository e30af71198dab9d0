"""Where rows come from, as settings; names are mapped and formats described here, and no SQL text is taken.

Paths may be local or any URI Spark can open: `hdfs://` as it is, `s3a://` with the jar hadoop-aws, `abfss://` with
hadoop-azure, `gs://` with gcs-connector. A secret is never repeated by an error about these settings.
"""

import codecs
import re
from collections.abc import Mapping
from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from shared.core.config import Settings
from shared.core.errors import ConfigError
from shared.core.references import is_reference, is_secret_like, refused

Format = Literal["csv", "words", "json", "parquet", "delta", "jdbc"]
# Python's names of the encodings that are read, and Spark's.
ENCODINGS: Final = {
    "ascii": "UTF-8",
    "utf-8": "UTF-8",
    "utf-8-sig": "UTF-8",
    "iso8859-1": "ISO-8859-1",
    "cp1252": "windows-1252",
    "utf-16": "UTF-16",
}


class Source(Settings):
    """One source of rows.

    Args:
        format: ``words`` is text with fields between blanks, ``json`` JSON lines; ``jdbc`` needs ``database``.
        path: file, folder or URI; a folder is read with the folders in it.
        columns: source name → declared name, for columns that are called otherwise.
        ignore: source columns that are not declared and may be left out.
        delimiter: between the fields of a CSV file, one or more characters.
        has_header: a text file begins with the names; otherwise ``columns`` gives them in order.
        escape: what stands before a quote inside a quoted CSV field; a quote doubles itself by default (RFC 4180).
        multiline: quoted CSV fields may hold line ends; such files cannot be split among tasks.
        null_value: text that stands for no value, besides an empty field.
        encoding: of text files: UTF-8, ISO-8859-1 or windows-1252; UTF-16 for CSV with ``multiline``.
        date_format, timestamp_format: Spark patterns of text files; ISO 8601 when empty, which is quicker.
        formats: declared name → pattern of its dates or times where it is another; also ``unix_seconds``, ``unix_millis``.
        decimal, thousands: how text files write numbers; groups of three are checked, so 1.5 is no 15.
        database: for ``jdbc``.
    """

    format: Format = "csv"
    path: str = ""
    columns: Mapping[str, str] = {}
    ignore: tuple[str, ...] = ()
    delimiter: str = Field(",", min_length=1)
    has_header: bool = True
    escape: str = Field('"', min_length=1, max_length=1)
    multiline: bool = False
    null_value: str = ""
    encoding: str = "UTF-8"
    date_format: str = ""
    timestamp_format: str = ""
    formats: Mapping[str, str] = {}
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ".", ",", " ", "'"] = ""
    database: "Database | None" = None

    @property
    def label(self) -> str:
        """The path, or the database table, for messages."""
        return self.path if self.database is None else self.database.table

    def of_column(self, name: str) -> "Source":
        """Return the source with the formats of the declared column ``name``."""
        if name not in self.formats:
            return self
        return self.model_copy(update=dict.fromkeys(("date_format", "timestamp_format"), self.formats[name]))

    def over(self, below: "Source") -> "Source":
        """Return ``below`` with the settings that were given here over it."""
        return Source(**{**dict(below), **{name: getattr(self, name) for name in self.model_fields_set}})

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str) -> str:
        try:
            return ENCODINGS[codecs.lookup(encoding).name]
        except (LookupError, KeyError):
            known = sorted(set(ENCODINGS.values()))
            raise ConfigError("ENCODING_UNKNOWN", f"encoding {encoding!r}.", f"One of {known}.", "Change it.") from None

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if self.decimal == self.thousands:
            raise ConfigError("NUMBERS_INVALID", f"decimal and thousands are both {self.decimal!r}.", "", "Change one.")
        needs = {"windows-1252": False, "UTF-16": True}
        if self.encoding in needs and self.multiline != needs[self.encoding]:
            found = f"{self.encoding} {'with' if self.multiline else 'without'} multiline."
            raise ConfigError("ENCODING_UNKNOWN", found, "", "Change multiline, or convert the file to UTF-8.")
        return self


class Database(Settings):
    """A table of a database.

    Args:
        url: ``jdbc:postgresql://host:port/name``, without credentials and properties.
        table: table or view, optionally with its schema; never a query.
        user: user name, or a reference such as ``env:PGUSER``.
        password: reference such as ``env:PGPASSWORD``.
        partition_column: number, date or timestamp to read in parallel by; rows where it is null are read too.
        partitions: number of parallel reads.
        lower_bound, upper_bound: ends of the strides, not a filter; the column's minimum and maximum when absent.
        fetch_size: rows a round trip.
        properties: of the driver, e.g. ``{"sslmode": "require"}``; none that hold credentials.
    """

    url: str
    table: str = Field(pattern=r"\A[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?\z")
    user: str
    password: str
    partition_column: str | None = Field(None, pattern=r"\A[A-Za-z_][A-Za-z0-9_]*\z")
    partitions: int = Field(4, ge=1, le=64)
    lower_bound: str | None = None
    upper_bound: str | None = None
    fetch_size: int = Field(10_000, ge=1)
    properties: Mapping[str, str] = {}

    # Before pydantic looks: its errors would repeat the value, which may be the secret.
    @field_validator("password", mode="before")
    @classmethod
    def _is_reference(cls, password: object) -> object:
        if not isinstance(password, str) or not is_reference(password):
            raise refused("database.password")
        return password

    @field_validator("url", mode="before")
    @classmethod
    def _has_no_credentials(cls, url: object) -> object:
        if not isinstance(url, str) or not re.match(r"\Ajdbc:[a-z]+:[^?@;]*\Z", url):
            raise ConfigError(
                "URL_INVALID",
                "database.url is not a plain JDBC address.",
                "jdbc:postgresql://host:port/name, without '?', ';' and '@'.",
                "Put user and password beside it, and the rest under database.properties.",
            )
        return url

    @field_validator("properties", mode="before")
    @classmethod
    def _hold_no_credentials(cls, properties: object) -> object:
        for name in properties if isinstance(properties, Mapping) else ():
            if is_secret_like(str(name)) or "user" in str(name).lower():
                raise ConfigError(
                    "SECRET_NOT_A_REFERENCE",
                    f"database.properties sets {name!r}.",
                    "Settings that hold no credentials.",
                    "Use database.user and database.password.",
                )
        return properties


Source.model_rebuild()
