"""One value written in many ways must come out as one value, and what cannot be read as null."""

from datetime import date

import pytest
from pyspark.sql import Column, SparkSession

from shared.core.errors import ConfigError
from shared.features.text import as_date, as_flag, as_number, standardised


def read_as(spark: SparkSession, texts: list[str | None], column: Column) -> list[object]:
    return [
        row[0] for row in spark.createDataFrame([(text,) for text in texts], "text string").select(column).collect()
    ]


def test_spellings_of_one_value_become_one(spark: SparkSession) -> None:
    spellings = ["Café", "  cafe\u0301 ", "CAFÉ", "ｃａｆé", "\u00a0café\u200b", "cafÉ\t"]

    assert set(read_as(spark, spellings, standardised("text"))) == {"café"}


def test_blanks_within_become_one_and_empty_text_is_no_value(spark: SparkSession) -> None:
    texts = ["New\u00a0 \tYork", "", "   ", None, "ﬁbre"]

    assert read_as(spark, texts, standardised("text")) == ["new york", None, None, None, "fibre"]


def test_case_can_be_kept_or_raised(spark: SparkSession) -> None:
    assert read_as(spark, [" Straße "], standardised("text", case="keep")) == ["Straße"]
    assert read_as(spark, [" aBc "], standardised("text", case="upper")) == ["ABC"]


def test_synonyms_become_their_value_however_they_are_spelled(spark: SparkSession) -> None:
    known = {"fiber optic": ["FTTH", "fibre  optic"]}

    assert read_as(spark, ["ftth", " Fibre Optic", "Fiber Optic", "dsl"], standardised("text", synonyms=known)) == [
        *["fiber optic"] * 3,
        "dsl",
    ]


def test_spellings_of_one_value_may_be_given_in_parts_and_more_than_once(spark: SparkSession) -> None:
    known = {"Yes": ["y", "Y", "YES"], "yes ": ["ja"]}

    assert read_as(spark, ["Y", "ja", "yes", "no"], standardised("text", synonyms=known)) == [*["yes"] * 3, "no"]


def test_a_synonym_of_two_values_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"SYNONYM_AMBIGUOUS\] \['b'\]"):
        standardised("text", synonyms={"a": ["b"], "b": ["c"]})
    with pytest.raises(ConfigError, match="SYNONYM_AMBIGUOUS"):
        standardised("text", synonyms={"a": ["x"], "b": ["X "]})


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12.0),
        (" -1.5e3 ", -1500.0),
        (".5", 0.5),
        ("1,5", None),
        ("NaN", None),
        ("Infinity", None),
        ("12d", None),
        ("1e999", None),
        ("-1e999", None),
    ],
)
def test_text_that_shows_a_number_is_one_and_other_text_is_null(
    spark: SparkSession, text: str, number: float | None
) -> None:
    assert read_as(spark, [text], as_number("text")) == [number]


def test_numbers_with_other_marks_are_read_when_these_are_named(spark: SparkSession) -> None:
    texts = ["1.234,50", "1 234,5", "1'234,5", None]

    assert read_as(spark, texts, as_number("text", decimal=",", grouping=".'")) == [1234.5, 1234.5, 1234.5, None]
    assert read_as(spark, ["1,5", "1.5", ",5", "1,5,0"], as_number("text", decimal=",")) == [1.5, None, 0.5, None]


def test_flags_are_read_in_any_case_and_other_words_are_null(spark: SparkSession) -> None:
    assert read_as(spark, ["YES", " n ", "0", "true", "maybe", ""], as_flag("text")) == [
        *[True, False, False, True],
        *[None, None],
    ]


def test_the_first_date_format_that_fits_counts(spark: SparkSession) -> None:
    texts = ["2024-02-29", "29.02.2024", "2023-02-29", "soon"]

    assert read_as(spark, texts, as_date("text", "yyyy-MM-dd", "dd.MM.yyyy")) == [
        *[date(2024, 2, 29)] * 2,
        *[None, None],
    ]


def test_a_date_without_a_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="DATE_FORMAT_MISSING"):
        as_date("text")
