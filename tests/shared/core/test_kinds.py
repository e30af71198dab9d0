"""What texts are: numbers in several ways of writing, dates in several orders, truth, nothing."""

from datetime import UTC, datetime

import pytest

from shared.core.kinds import Kind, Sampled, as_time, kind_of, null_marker, number_format, numbers_of


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-2", None], Kind("whole")),
        (["1", "2.5"], Kind("number")),
        (["17850.0", "1.0"], Kind("number")),
        (["1e3", "2"], Kind("whole")),
        (["True", "false"], Kind("boolean")),
        (["yes", "no"], Kind("text")),
        (["007", "123"], Kind("text")),
        (["", "x"], Kind("text")),
        ([None, None], Kind("empty")),
        (["2024-01-31", "2024-02-01"], Kind("date")),
        (["2024-01-31 10:00:00", "2024-02-01"], Kind("timestamp")),
        (["2024-01-31T10:00:00Z"], Kind("timestamp")),
        (["31.1.2024", "01.12.2024"], Kind("date", "d.M.yyyy")),
        (["31/1/2024", "1/2/2024"], Kind("date", "d/M/yyyy")),
        (["1/31/2024", "1/2/2024"], Kind("date", "M/d/yyyy")),
        (["1/2/2024"], Kind("date", "d/M/yyyy", "the same texts can be read as M/d/yyyy")),
        (["31.01.2024 23:59"], Kind("timestamp", "d.M.yyyy H:mm")),
        (["19970131", "19970228"], Kind("date", "yyyyMMdd")),
        (["19970131", "19979999"], Kind("whole")),
        (["31-Jan-2024"], Kind("date", "d-MMM-yyyy")),
    ],
)
def test_the_kind_of_a_column(texts: list[str | None], kind: Kind) -> None:
    assert kind_of("x", texts) == kind


def test_a_few_values_of_another_kind_do_not_change_it() -> None:
    assert kind_of("x", [*map(str, range(99)), "n.a."]) == Kind("whole")
    assert kind_of("x", [*map(str, range(90)), *["n.a."] * 10]) == Kind("text")


@pytest.mark.parametrize(
    ("column", "marks", "first"),
    [
        (["1234.5", "1"], (".", ""), 1234.5),
        (["1,234.5", "12"], (".", ","), 1234.5),
        (["1,234", "56"], (".", ","), 1234.0),
        (["12,5", "1"], (",", ""), 12.5),
        (["0,123", "7"], (",", ""), 0.123),
        (["1.234,5", "12"], (",", "."), 1234.5),
        (["1 234,5", "12"], (",", " "), 1234.5),
        (["1'234.5", "12"], (".", "'"), 1234.5),
    ],
)
def test_how_numbers_are_written(column: list[str], marks: tuple[str, str], first: float) -> None:
    assert number_format([column, ["3", "4"], ["word", "word"]]) == marks
    assert numbers_of(column, Kind("number"), marks)[0] == first


def test_groups_that_are_not_of_three_are_no_number() -> None:
    assert numbers_of(["1.5", "12.34"], Kind("number"), (",", ".")) == [None, None]


def test_moments_are_seconds_since_1970_in_utc() -> None:
    expected = datetime(2024, 1, 31, 10, tzinfo=UTC).timestamp()

    assert numbers_of(["2024-01-31 10:00:00", "2024-01-31T11:00:00+01:00"], Kind("timestamp")) == [expected] * 2
    assert numbers_of(["31.1.2024 10:00:00"], Kind("timestamp", "d.M.yyyy H:mm:ss")) == [expected]
    assert numbers_of([str(int(expected * 1000))], Kind("timestamp", "unix_millis")) == [expected]


def test_whole_numbers_are_times_when_the_name_or_the_user_says_so() -> None:
    assert kind_of("created_at", ["881250949"]) == Kind("timestamp", "unix_seconds")
    assert kind_of("event_time", ["881250949000"]) == Kind("timestamp", "unix_millis")
    assert kind_of("amount", ["881250949"]) == Kind("whole")
    assert as_time(Sampled("c4", Kind("whole"), ["881250949"], [0.0])).kind == Kind("timestamp", "unix_seconds")
    assert as_time(Sampled("c4", Kind("whole"), ["12"], [12.0])).kind == Kind("whole")


def test_one_stray_question_mark_stands_for_itself_and_many_for_nothing() -> None:
    assert null_marker([["?", *["a"] * 200]]) == ""
    assert null_marker([["?", *["a"] * 50], ["1", "2"]]) == "?"
