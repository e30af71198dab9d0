"""Where rows come from, as settings; names are mapped and formats described here, and no SQL text is taken.

Paths may be local or any URI Spark can open: `hdfs://` as it is, `s3a://` with the jar hadoop-aws, `abfss://` with
hadoop-azure, `gs://` with gcs-connector.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator

from shared.core.config import Settings
from shared.core.secrets import is_reference

Format = Literal["csv", "words", "json", "parquet", "delta", "jdbc"]


class Source(Settings):
    """One source of rows.

    Args:
        format: ``words`` is text with fields between blanks, ``json`` JSON lines; ``jdbc`` needs ``database``.
        path: file, folder or URI.
        columns: source name → declared name, for columns that are called otherwise.
        ignore: source columns that are not declared and may be left out.
        delimiter: between the fields of a CSV file.
        has_header: a text file begins with the names; otherwise ``columns`` gives them in order.
        encoding: of text files.
        date_format, timestamp_format: Spark patterns of text files.
        database: for ``jdbc``.
    """

    format: Format
    path: str = ""
    columns: Mapping[str, str] = {}
    ignore: tuple[str, ...] = ()
    delimiter: str = Field(",", min_length=1)
    has_header: bool = True
    encoding: str = "UTF-8"
    date_format: str = "yyyy-MM-dd"
    timestamp_format: str = "yyyy-MM-dd[[' ']['T']HH:mm:ss[.SSSSSS][XXX]]"
    database: "Database | None" = None


class Database(Settings):
    """A table of a database.

    Args:
        url: ``jdbc:postgresql://host:port/name``, without credentials.
        table: table or view, optionally with its schema; never a query.
        user: user name.
        password: reference such as ``env:PGPASSWORD``.
        partition_column: numeric, date or timestamp column to read in parallel by; rows where it is null are read too.
        partitions: number of parallel reads.
        fetch_size: rows a round trip.
    """

    url: str = Field(pattern=r"\Ajdbc:[a-z]+:[^?@]*\z")
    table: str = Field(pattern=r"\A[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?\z")
    user: str
    password: str
    partition_column: str | None = Field(None, pattern=r"\A[A-Za-z_][A-Za-z0-9_]*\z")
    partitions: int = Field(4, ge=1, le=64)
    fetch_size: int = Field(10_000, ge=1)

    @field_validator("password")
    @classmethod
    def _is_reference(cls, password: str) -> str:
        if not is_reference(password):
            raise ValueError("must be a reference: env:NAME, file:/path or databricks:scope/key")
        return password


Source.model_rebuild()
