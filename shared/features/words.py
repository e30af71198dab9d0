"""Words of a text as features: tokens without stop words, stemmed, with n-grams; and what learns from them, TF-IDF.

The rule is one Python function, which the batch calls through Arrow and the online service directly: what a text becomes
cannot differ between them. It learns nothing. What does (the vocabulary, how rare a word is) are Spark's own stages, fitted
on training rows.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import snowballstemmer
from pydantic import Field, field_validator

from shared.core.config import Settings

if TYPE_CHECKING:
    from pyspark.ml import Estimator, Transformer
    from pyspark.sql import Column

# Letters and digits of any script; an apostrophe joins what stands on both sides of it.
_TOKEN: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*", re.UNICODE)
_LONGEST: Final = 40  # characters; longer ones are no words but addresses, keys and noise

_FUNCTION_WORDS: Final = (
    "a an the this that these those and or but if so as of at by for from in into on onto to with about "
    "i me my mine we us our you your he him his she her it its they them their who which what when where "
    "am is are was were be been being do does did have has had will would shall should can could may might must "
    "there here then than too also just very"
)
ENGLISH: Final = tuple(_FUNCTION_WORDS.split())
"""Words that stand in any English text; negations are not among them, as they turn what follows."""


class WordsConfig(Settings):
    """How a text becomes words.

    Args:
        language: whose stemmer is used, by the names of the Snowball project; None leaves words as they are.
        stop_words: words left out, compared before stemming.
        ngrams: longest run of neighbouring words that is a word of its own, joined by a blank; 1 makes no runs.
    """

    language: str | None = "english"
    stop_words: tuple[str, ...] = ENGLISH
    ngrams: int = Field(1, ge=1, le=5)

    @field_validator("language")
    @classmethod
    def _is_known(cls, language: str | None) -> str | None:
        if language is not None and language not in snowballstemmer.algorithms():
            raise ValueError(f"no stemmer for {language!r}; one of {sorted(snowballstemmer.algorithms())}, or null")
        return language


def words(text: str | None, config: WordsConfig) -> list[str]:
    """Return the words of a text in order: lower case, NFKC, without stop words, stemmed, then n-grams of 2, 3, …

    None and a text without words give an empty list. N-grams join what is left after stop words are out.

    >>> words("The APP's crashing, and it crashes again!", WordsConfig(ngrams=2))
    ['app', 'crash', 'crash', 'again', 'app crash', 'crash crash', 'crash again']
    >>> words(None, WordsConfig())
    []
    """
    spelled = unicodedata.normalize("NFKC", text or "").lower().replace("’", "'")
    found = [token for token in _TOKEN.findall(spelled) if len(token) <= _LONGEST]
    kept = [_stemmed(config.language, token) for token in found if token not in _as_set(config.stop_words)]
    runs = (kept[place : place + size] for size in range(2, config.ngrams + 1) for place in range(len(kept) - size + 1))
    return [*kept, *(" ".join(run) for run in runs)]


def words_of(text: "Column | str", config: WordsConfig) -> "Column":
    """Return `words` of a text column, as ``array<string>``; null gives an empty array."""
    import pandas as pd
    from pyspark.sql.pandas.functions import pandas_udf
    from pyspark.sql.types import ArrayType, StringType

    @pandas_udf(ArrayType(StringType(), containsNull=False))  # type: ignore[untyped-decorator, call-overload]
    def split(texts: pd.Series) -> pd.Series:
        return texts.map(lambda value: words(value, config))

    column: Column = split(text)
    return column


def tf_idf(column: str, output: str, *, vocabulary: int = 500, min_rows: int = 5) -> "list[Estimator[Any]]":
    """Return the stages that turn ``array<string>`` into a vector: times in the row, times ``ln((n + 1) / (rows + 1))``.

    ``n`` is the number of training rows and ``rows`` of those that hold the word (Spark's IDF). The vocabulary is the
    ``vocabulary`` words that are in the most training rows, and in at least ``min_rows``; others are nothing.
    """
    from pyspark.ml.feature import IDF, CountVectorizer

    counts = f"{output}__counts"
    return [
        CountVectorizer(inputCol=column, outputCol=counts, vocabSize=vocabulary, minDF=float(min_rows)),
        IDF(inputCol=counts, outputCol=output),
    ]


def hashed_tf_idf(column: str, output: str, *, buckets: int = 4_096) -> "list[Estimator[Any] | Transformer]":
    """Return the stages of `tf_idf` with words hashed into ``buckets``: no vocabulary is learned, none has to fit.

    Words may share a bucket, and a bucket cannot be read back; there is no export for it.
    """
    from pyspark.ml.feature import IDF, HashingTF

    counts = f"{output}__counts"
    return [HashingTF(inputCol=column, outputCol=counts, numFeatures=buckets), IDF(inputCol=counts, outputCol=output)]


@lru_cache(maxsize=16)
def _as_set(stop_words: Sequence[str]) -> frozenset[str]:
    return frozenset(stop_words)


# The stemmer is Python: a language has few words that come often, so most are looked up.
@lru_cache(maxsize=100_000)
def _stemmed(language: str | None, token: str) -> str:
    return token if language is None else str(_stemmer(language).stemWord(token))


@lru_cache(maxsize=4)
def _stemmer(language: str) -> "snowballstemmer.english_stemmer.EnglishStemmer":
    return snowballstemmer.stemmer(language)
