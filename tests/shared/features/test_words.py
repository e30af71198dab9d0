"""Words of a text: one rule for the batch and for the service, and TF-IDF over them."""

import math

import pytest
from pydantic import ValidationError
from pyspark.ml import Pipeline
from pyspark.sql import SparkSession

from shared.features.words import ENGLISH, WordsConfig, hashed_tf_idf, tf_idf, words, words_of

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


def test_the_column_gives_what_the_function_gives(spark: SparkSession) -> None:
    texts = ["The app's crashing!", None, "", "ﬁne Straße 東京", "payments payment"]
    rows = spark.createDataFrame([(place, text) for place, text in enumerate(texts)], "id int, text string")

    found = rows.select("id", words_of("text", WordsConfig(ngrams=2)).alias("words")).orderBy("id").collect()

    assert [row["words"] for row in found] == [words(text, WordsConfig(ngrams=2)) for text in texts]
    assert "array<string>" in dict(rows.select(words_of("text", PLAIN).alias("w")).dtypes)["w"]


def test_tf_idf_counts_in_the_row_and_weighs_by_how_few_rows_hold_the_word(spark: SparkSession) -> None:
    rows = spark.createDataFrame(
        [(0, ["a", "a", "b"]), (1, ["b"]), (2, ["b", "rare"]), (3, [])], "id int, words array<string>"
    )
    model = Pipeline(stages=tf_idf("words", "v", vocabulary=10, min_rows=1)).fit(rows)

    vocabulary = model.stages[0].vocabulary
    vectors = {row["id"]: row["v"].toArray() for row in model.transform(rows).collect()}
    assert vectors[0][vocabulary.index("a")] == pytest.approx(2 * math.log(5 / 2))
    assert vectors[0][vocabulary.index("b")] == pytest.approx(1 * math.log(5 / 4))
    assert vectors[3].tolist() == [0.0, 0.0, 0.0]
    unseen = spark.createDataFrame([(9, ["new"])], "id int, words array<string>")
    assert model.transform(unseen).first()["v"].toArray().tolist() == [0.0, 0.0, 0.0]


def test_a_word_in_too_few_rows_is_not_learned(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(["a", "b"],), (["a"],)], "words array<string>")

    assert Pipeline(stages=tf_idf("words", "v", min_rows=2)).fit(rows).stages[0].vocabulary == ["a"]


def test_hashed_words_need_no_vocabulary(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(["a", "a"],), (["b"],)], "words array<string>")

    vector = Pipeline(stages=hashed_tf_idf("words", "v", buckets=64)).fit(rows).transform(rows).first()["v"]
    assert vector.size == 64
    assert sorted(vector.toArray())[-1] == pytest.approx(2 * math.log(3 / 2))
