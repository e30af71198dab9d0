"""Words of a text: one rule for the batch and for the service."""

import pytest
from pydantic import ValidationError

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
