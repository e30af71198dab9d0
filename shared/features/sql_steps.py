"""Steps of a pipeline that add or drop columns, as Spark's own SQLTransformer, which any saved pipeline can load."""

from collections.abc import Iterable

from pyspark.ml.feature import SQLTransformer

from shared.core.columns import quoted


def adding(terms: Iterable[str]) -> SQLTransformer:
    """Return the step that adds the columns ``terms``, each ``expression AS name``; none leaves the rows as they are."""
    return SQLTransformer(statement=f"SELECT {', '.join(['*', *terms])} FROM __THIS__")


def replacing(names: Iterable[str], terms: Iterable[str] = ()) -> SQLTransformer:
    """Return the step that drops the columns ``names`` and adds ``terms``, which may read the dropped ones."""
    kept = f"* EXCEPT ({quoted(list(names))})"
    return SQLTransformer(statement=f"SELECT {', '.join([kept, *terms])} FROM __THIS__")
