"""Words as numbers: the column of words, and Spark's own stages that learn a vocabulary and how rare a word is.

What learns is fitted on training rows; what a word is, `shared.features.words` says.
"""

from typing import Any, Final

import pandas as pd
from pyspark.ml import Estimator, Transformer
from pyspark.ml.feature import IDF, CountVectorizer, HashingTF
from pyspark.sql import Column
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.types import ArrayType, StringType

from shared.features.words import WordsConfig, words

WORDS: Final = "array<string>"
"""Type of a column of words."""


def words_of(text: Column | str, config: WordsConfig) -> Column:
    """Return the words of a text column, as ``array<string>``; null gives an empty array."""

    @pandas_udf(ArrayType(StringType(), containsNull=False))  # type: ignore[untyped-decorator, call-overload]
    def split(texts: pd.Series) -> pd.Series:
        return texts.map(lambda value: words(value, config))

    column: Column = split(text)
    return column


def tf_idf(column: str, output: str, *, vocabulary: int = 500, min_rows: int = 5) -> list[Estimator[Any]]:
    """Return the stages that turn ``array<string>`` into a vector: times in the row, times ``ln((n + 1) / (rows + 1))``.

    ``n`` is the number of training rows and ``rows`` of those that hold the word (Spark's IDF). The vocabulary is the
    ``vocabulary`` most frequent words that are in at least ``min_rows`` training rows; others are nothing.
    """
    counts = f"{output}__counts"
    return [
        CountVectorizer(inputCol=column, outputCol=counts, vocabSize=vocabulary, minDF=float(min_rows)),
        IDF(inputCol=counts, outputCol=output),
    ]


def hashed_tf_idf(column: str, output: str, *, buckets: int = 4_096) -> list[Estimator[Any] | Transformer]:
    """Return the stages of `tf_idf` with words hashed into ``buckets``: no vocabulary is learned, none has to fit.

    Words may share a bucket, and a bucket cannot be read back; there is no export for it.
    """
    counts = f"{output}__counts"
    return [HashingTF(inputCol=column, outputCol=counts, numFeatures=buckets), IDF(inputCol=counts, outputCol=output)]
