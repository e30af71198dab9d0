"""Words of a text: tokens without stop words, stemmed, with n-grams.

The rule is one Python function, which the batch calls through Arrow (`shared.features.tf_idf`) and the online service
directly: what a text becomes cannot differ between them. It learns nothing and needs no Spark.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Literal

import snowballstemmer
from pydantic import Field, field_validator

from shared.core.config import Settings

# What is written onto the letter before it, as vowels in Hindi and Thai, and the two invisible joiners. Up to U+1F000, beyond
# which no living script has any.
_MARKS: Final = "\u200c\u200d" + "".join(
    each for each in map(chr, range(0x300, 0x1F000)) if unicodedata.category(each).startswith("M")
)
# Letters and digits of any script with their marks; an apostrophe joins what stands on both sides of it. The look ahead
# spares plain text the long list of marks: it is ten times as fast.
_TOKEN: Final = re.compile(rf"[^\W_]+(?:(?=['\x80-\U0010ffff])(?:[{_MARKS}]+|'(?=[^\W_]))[^\W_]*)*")
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
        stop_words: words left out, compared before stemming; ``english`` are those of `ENGLISH`.
        ngrams: longest run of neighbouring words that is a word of its own, joined by a blank; 1 makes no runs.
    """

    language: str | None = "english"
    stop_words: Literal["english"] | tuple[str, ...] = "english"
    ngrams: int = Field(1, ge=1, le=5)

    @field_validator("language")
    @classmethod
    def _is_known(cls, language: str | None) -> str | None:
        if language is not None and language not in snowballstemmer.algorithms():
            raise ValueError(f"no stemmer for {language!r}; one of {sorted(snowballstemmer.algorithms())}, or null")
        return language


def words(text: str | None, config: WordsConfig) -> list[str]:
    """Return the words of a text in order: lower case, NFKC, without stop words, stemmed, then n-grams of 2, 3, …

    None and a text without words give an empty list. N-grams join what is left after stop words are out, and stay within a
    line: the lines of a text may be several messages.

    >>> words("The APP's crashing, and it crashes again!", WordsConfig(ngrams=2))
    ['app', 'crash', 'crash', 'again', 'app crash', 'crash crash', 'crash again']
    >>> words(None, WordsConfig())
    []
    """
    lines = [_kept(line, config) for line in _spelled(text or "", config.language).split("\n")]
    runs = (
        " ".join(kept[place : place + size])
        for size in range(2, config.ngrams + 1)
        for kept in lines
        for place in range(len(kept) - size + 1)
    )
    return [*(word for kept in lines for word in kept), *runs]


def _spelled(text: str, language: str | None) -> str:
    normal = unicodedata.normalize("NFKC", text).replace("’", "'")
    if language == "turkish":  # where I is the capital of another letter
        normal = normal.replace("I", "ı")
    return normal.lower().replace("i\u0307", "i")  # what becomes of İ


def _kept(line: str, config: WordsConfig) -> list[str]:
    found = [token for token in _TOKEN.findall(line) if len(token) <= _LONGEST]
    return [_stemmed(config.language, token) for token in found if token not in _as_set(config.stop_words)]


@lru_cache(maxsize=16)
def _as_set(stop_words: Sequence[str]) -> frozenset[str]:
    return frozenset(ENGLISH if stop_words == "english" else stop_words)


# The stemmer is Python: a language has few words that come often, so most are looked up. It holds the word it works on,
# so one is made for each call, which costs nothing beside the stemming: the service asks from several threads.
@lru_cache(maxsize=100_000)
def _stemmed(language: str | None, token: str) -> str:
    return token if language is None else str(snowballstemmer.stemmer(language).stemWord(token))
