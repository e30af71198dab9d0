"""Words of a text: one rule for the batch and for the service."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import snowballstemmer
from pydantic import ValidationError

from shared.features import words as module
from shared.features.words import ENGLISH, WordsConfig, words

PLAIN = WordsConfig(language=None, stop_words=())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, []),
        ("", []),
        (" \n — !? ", []),
        ("Don't STOP", ["don't", "stop"]),
        ("don’t", ["don't"]),
        ("'quoted' rock'n'roll", ["quoted", "rock'n'roll"]),
        ("a_b-c/d 3.5", ["a", "b", "c", "d", "3", "5"]),
        ("ﬁne ＡＢＣ", ["fine", "abc"]),
        ("Straße 東京 Москва", ["straße", "東京", "москва"]),
        ("हिन्दी में सहायता", ["हिन्दी", "में", "सहायता"]),  # vowels are marks on the letter before
        ("ভাষা ภาษาไทย", ["ভাষা", "ภาษาไทย"]),
        ("क्\u200dष", ["क्\u200dष"]),
        ("İptal e\u0301te\u0301", ["iptal", "été"]),
        ("x\u0331'y ☂\ufe0f", ["x\u0331'y"]),
        ("x" * 40 + " " + "y" * 41, ["x" * 40]),
    ],
)
def test_a_token_is_a_run_of_letters_and_digits_of_any_script(text: str | None, expected: list[str]) -> None:
    assert words(text, PLAIN) == expected


def test_stop_words_go_before_stemming_and_negations_stay() -> None:
    assert words("The payments were not accepted", WordsConfig()) == ["payment", "not", "accept"]
    assert "doing" not in ENGLISH
    assert words("doing", WordsConfig(stop_words=("do",))) == ["do"]


def test_other_languages_have_their_own_stemmer() -> None:
    assert words("Kündigungen kündigen", WordsConfig(language="german", stop_words=())) == ["kundig", "kundig"]
    with pytest.raises(ValidationError, match="no stemmer for 'klingon'"):
        WordsConfig(language="klingon")


def test_ngrams_join_neighbours_after_the_words_themselves() -> None:
    assert words("one two three", WordsConfig(language=None, stop_words=(), ngrams=3)) == [
        *("one", "two", "three"),
        *("one two", "two three"),
        "one two three",
    ]
    assert words("one", WordsConfig(language=None, ngrams=3)) == ["one"]


def test_turkish_capitals_are_those_of_turkish_letters() -> None:
    turkish = WordsConfig(language="turkish", stop_words=())

    assert words("İPTAL ISI", turkish) == words("iptal ısı", turkish) != words("iptal isi", turkish)


def test_ngrams_do_not_run_from_one_line_into_the_next() -> None:
    assert words("one two\nthree\n\nfour five", WordsConfig(language=None, ngrams=2)) == [
        *("one", "two", "three", "four", "five"),
        *("one two", "four five"),
    ]


def test_two_threads_stem_without_disturbing_each_other() -> None:
    spelled = [
        f"{start}{middle}{end}"
        for start in "bcdfgl"
        for middle in ("an", "om", "ell")
        for end in ("ing", "ations", "ies")
    ]
    stemmer = snowballstemmer.stemmer("english")
    expected = {word: stemmer.stemWord(word) for word in spelled}
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that they do meet
    try:
        with ThreadPoolExecutor(2) as pool:
            for _ in range(20):
                module._stemmed.cache_clear()
                found = list(
                    pool.map(
                        lambda each: {word: module._stemmed("english", word) for word in each}, [spelled, spelled[::-1]]
                    )
                )
                assert found == [expected, expected]
    finally:
        sys.setswitchinterval(before)
        module._stemmed.cache_clear()
