"""A short digest of a table's content, the same in whatever order the rows come.

Spark's hash functions skip nulls, so (null, 1) and (1, null) would be the same row to them: the places of the nulls are
hashed too. Equal digests mean equal rows up to a collision of 64-bit hashes; it is no protection against malice.
"""

from collections.abc import Collection

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, MapType, StringType, StructType, VariantType

# As JSON: hash functions take no map or variant, and would not see where nulls are inside the others.
_NESTED = (ArrayType, MapType, StructType, VariantType)
_JSON = {"timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX", "timeZone": "UTC"}


def digest(rows: DataFrame) -> str:
    """Return ``count:sum:xor`` of the row hashes; column names and types count, the order of rows and columns not.

    One pass over the rows. The sum tells apart what the xor alone would not (two equal rows cancel out), and the
    reverse.
    """
    found = (
        rows.select(row_hash(rows).alias("hash"))
        .agg(
            F.count("hash").alias("count"),
            F.sum(F.col("hash").cast("decimal(38,0)")).alias("sum"),
            F.bit_xor("hash").alias("xor"),
        )
        .collect()[0]
    )
    return f"{found['count']}:{found['sum'] or 0}:{found['xor'] or 0}"


def row_count(content: str) -> int:
    """Return the number of rows behind a digest.

    >>> row_count("3:-17:5")
    3
    """
    return int(content.split(":", 1)[0])


def row_hash(rows: DataFrame, columns: Collection[str] | None = None) -> Column:
    """Return the 64-bit hash of a row: its values, where its nulls are, and the names and types of the columns.

    Of all columns, or of ``columns`` only; their order does not count.

    The types are written out because Spark hashes what lies in memory: decimal 1.00, bigint 100 and a day are one number.
    """
    chosen = [field for field in rows.schema.fields if columns is None or field.name in columns]
    fields = sorted(chosen, key=lambda field: field.name)
    cells = [rows[f"`{field.name}`"] for field in fields]
    values = [value for field, cell in zip(fields, cells, strict=True) for value in _hashed(cell, field.dataType)]
    names = F.lit(",".join(f"{field.name}:{field.dataType.simpleString()}" for field in fields))
    return F.xxhash64(names, *values, *(cell.isNull() for cell in cells))


def _hashed(cell: Column, kind: DataType) -> list[Column]:
    """Return what is hashed of a cell. Words are hashed as they are, and once more joined, which shows their nulls: JSON is dear."""
    if isinstance(kind, ArrayType) and isinstance(kind.elementType, StringType):
        return [cell, F.array_join(cell, "\x00", "\x01")]
    return [F.to_json(F.struct(cell), _JSON) if isinstance(kind, _NESTED) else cell]
