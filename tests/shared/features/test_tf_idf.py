"""Words of a column, and TF-IDF over them."""

import math

import pytest
from pyspark.ml import Pipeline
from pyspark.sql import SparkSession

from shared.features.tf_idf import hashed_tf_idf, tf_idf, words_of
from shared.features.words import WordsConfig, words

PLAIN = WordsConfig(language=None, stop_words=())


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
