"""Drift of windows made by hand: what violates, against which reference, and what there are too few rows for."""

from dataclasses import replace
from typing import Any

import pytest
from scipy import stats

from shared.monitoring import drift
from shared.monitoring.bins import ColumnBins
from shared.monitoring.drift import Drift
from shared.monitoring.profile import Profile
from shared.monitoring.settings import MonitoringConfig

SETTINGS = MonitoringConfig()
BINS = [
    ColumnBins("x", "numeric", edges=(1.0, 2.0, 3.0)),
    ColumnBins("plan", "categorical", levels=("a", "b"), hashes=(1, 2)),
]
EVEN = (500, 500, 500, 500)


def number(window: str, counts: tuple[int, ...] = EVEN, nulls: int = 0, **moments: Any) -> Profile:
    return Profile(
        window, None, None, "x", sum(counts) + nulls, nulls, counts, **{"mean": 2.0, "deviation": 1.0, **moments}
    )


def category(window: str, counts: tuple[int, ...]) -> Profile:
    return Profile(window, None, None, "plan", sum(counts), 0, counts)


def of(window: str, history: dict[str, list[Profile]], **settings: Any) -> dict[str, Drift]:
    baseline = [number("all"), category("all", (1_000, 1_000, 0))]
    found = drift.of_window(window, history, baseline, BINS, SETTINGS.model_copy(update=settings))
    return {f"{each.against} {each.column}": each for each in found}


def test_an_equal_window_does_not_violate() -> None:
    found = of("1", {"1": [number("1"), category("1", (500, 500, 0))]})

    assert set(found) == {"BASELINE x", "BASELINE plan"}
    assert [each.violation for each in found.values()] == ["", ""]
    assert found["BASELINE x"].psi == found["BASELINE x"].ks == 0
    assert found["BASELINE plan"].unseen == 0


def test_a_shift_violates_and_says_how_far() -> None:
    moved = number("1", (200, 500, 500, 800), mean=2.5)

    found = of("1", {"1": [moved]})["BASELINE x"]

    assert found.violation == "distribution"
    assert (found.ks, found.mean_change) == (pytest.approx(0.15), pytest.approx(0.5))
    assert "KS 0.150 from training rows, mean +0.50 sd" in found.reason
    # Two tests of the column, the distribution and the nulls: Holm takes the smaller one twice.
    p_value = stats.kstwobign.sf(0.15 * (2_000 * 2_000 / 4_000) ** 0.5)
    assert found.p_value == pytest.approx(2 * p_value)


def test_a_difference_that_does_not_matter_is_none_however_sure() -> None:
    history = {"1": [number("1", (240_000, 250_000, 250_000, 260_000))]}
    baseline = [number("all", (250_000,) * 4)]

    (found,) = drift.of_window("1", history, baseline, BINS, SETTINGS)
    (strict,) = drift.of_window("1", history, baseline, BINS, SETTINGS.model_copy(update={"min_distance": 0.005}))

    assert found.p_value is not None
    assert found.p_value < 1e-9
    assert (found.violation, strict.violation) == ("", "distribution")


def test_a_large_difference_on_few_rows_is_chance() -> None:
    few = number("1", (20, 25, 25, 45))

    assert of("1", {"1": [few]}, alpha=0.001)["BASELINE x"].violation == ""
    assert (of("1", {"1": [few]})["BASELINE x"].ks or 0) > SETTINGS.min_distance


def test_a_difference_counts_at_the_lower_end_of_its_interval() -> None:
    """A quarter more than the least that matters, sure to be a difference at all, and still perhaps too small."""
    history = {"1": [number("1", (187, 250, 250, 313)), category("1", (1, 1, 0))]}
    found = of("1", history)["BASELINE x"]

    assert found.ks == pytest.approx(0.063)
    assert found.margin == pytest.approx(2.3263 * (1 / 1_000 + 1 / 2_000) ** 0.5 / 2, abs=1e-4)
    assert of("1", history, min_distance=0.05, alpha=0.05)["BASELINE x"].violation == ""
    assert of("1", history, min_distance=0.02, alpha=0.05)["BASELINE x"].violation == "distribution"


def test_missing_values_violate_before_anything_else() -> None:
    found = of("1", {"1": [number("1", (100, 400, 600, 800), nulls=200)]})["BASELINE x"]

    assert found.violation == "nulls"
    assert found.null_change == pytest.approx(200 / 2_100)
    assert found.reason.startswith("9.5% of the rows more than in training rows have no value")


def test_a_column_that_lost_all_its_values_violates_without_statistics() -> None:
    gone = number("1", (0, 0, 0, 0), nulls=2_000, mean=None, deviation=None)

    found = of("1", {"1": [gone]})["BASELINE x"]

    assert (found.violation, found.ks, found.psi) == ("nulls", None, None)


def test_levels_that_training_did_not_have_violate_unless_it_had_more_than_there_are_bins() -> None:
    window = {"1": [category("1", (980, 980, 40))]}
    assert of("1", window)["BASELINE plan"].violation == "unseen"

    open_ended = [BINS[0], replace(BINS[1], is_complete=False)]
    found = drift.of_window("1", window, [category("all", (1_000, 1_000, 40))], open_ended, SETTINGS)
    assert [(each.unseen, each.violation) for each in found] == [(None, "")]


def test_too_few_rows_give_no_statistic_and_a_reason() -> None:
    found = of("1", {"1": [number("1", (20, 20, 20, 20))]})["BASELINE x"]

    assert (found.psi, found.ks, found.null_p_value, found.violation) == (None, None, None, "")
    assert found.reason == "80 rows, 2,000 to compare with: fewer than 100"


def test_the_recent_reference_ends_before_the_windows_an_alert_is_about() -> None:
    shares = [(700, 500, 400, 400), EVEN, (400, 400, 500, 700), EVEN, EVEN, EVEN]
    history = {str(place): [number(str(place), counts)] for place, counts in enumerate(shares)}

    found = of("5", history)

    assert set(found) == {"BASELINE x", "CONSECUTIVE x", "RECENT x"}
    assert found["CONSECUTIVE x"].compared_with == "4"
    assert found["RECENT x"].compared_with == "0 to 2"  # three windows, and two more before this one
    assert found["RECENT x"].reference_rows == 6_000
    assert found["RECENT x"].ks == pytest.approx(1_600 / 6_000 - 0.25)
    assert "RECENT x" not in of("4", history)  # two windows are not three
    assert drift.judged_against(list(found.values()), SETTINGS) == [found["RECENT x"]]
    old = SETTINGS.model_copy(update={"compare_with": "baseline"})
    assert drift.judged_against(list(found.values()), old) == [found["BASELINE x"]]


def judged(history: dict[str, list[Profile]], **settings: Any) -> dict[str, str]:
    """The verdicts of all windows: window and column → violation, those without left out."""
    found = [d for window in history for d in of(window, history).values()]
    known = drift.judged_against(found, SETTINGS.model_copy(update=settings))
    return {f"{d.window} {d.column}": d.violation for d in known if d.violation}


def missing(*shares: float) -> dict[str, list[Profile]]:
    """Windows 10, 11, … in which such shares of the values of ``x`` are missing."""
    rows = [round(2000 * share) for share in shares]
    return {
        str(10 + place): [number(str(10 + place), (500 - nulls // 4,) * 4, nulls=nulls)]
        for place, nulls in enumerate(rows)
    }


def test_values_that_stay_away_never_become_the_new_normal() -> None:
    broken = [*missing(*[0.0] * 6, *[0.2] * 8).items()]
    new = category("w", (980, 980, 40))

    history = {window: [*found, replace(new, window=window)] for window, found in broken}

    assert of("23", history)["RECENT x"].null_change == 0.0
    assert judged(history) == {f"{window} x": "nulls" for window in range(16, 24)} | {
        f"{window} plan": "unseen" for window in range(10, 24)
    }


def test_what_may_change_is_not_broken_and_its_distribution_is_watched() -> None:
    moved = number("20", (100, 400, 500, 600), nulls=400, mean=2.5)
    history = {"20": [moved, category("20", (200, 1_700, 100))]}
    leave = SETTINGS.model_copy(update={"may_change": ("plan", "x")})
    stored = list(of("20", history).values())

    assert {each.violation for each in drift.judged_against(stored, SETTINGS)} == {"nulls", "unseen"}
    x, plan = drift.judged_against(stored, leave)
    assert (x.violation, plan.violation) == ("distribution", "distribution")
    # Of the four tests, corrected by Holm, two have a lesser p-value and one a greater.
    p_value = stats.kstwobign.sf(0.1875 * (2_000 * 1_600 / 3_600) ** 0.5)
    assert x.reason == f"KS 0.188 from training rows, mean +0.50 sd (p {2 * p_value:.2g}, PSI {x.psi:.3f})"
    assert plan.reason.startswith("total variation 0.400 from training rows (p ")


def test_what_is_measured_does_not_depend_on_what_may_change() -> None:
    history = {
        window: [found, replace(category("w", (980, 980, 40)), window=window)]
        for window, (found,) in missing(*[0.0] * 6, *[0.2] * 8).items()
    }

    for window in history:
        assert of(window, history, may_change=("plan", "x")) == of(window, history)


def test_missing_values_that_may_change_hide_neither_a_shift_nor_that_nothing_is_left() -> None:
    history = missing(*[0.0] * 6, *[0.2] * 4)
    history["19"] = [number("19", (100, 400, 500, 600), nulls=400)]
    assert judged(history) == {f"{window} x": "nulls" for window in range(16, 20)}
    assert judged(history, may_change=("x",)) == {"19 x": "distribution"}

    gone = of("1", {"1": [number("1", (0, 0, 0, 0), nulls=2_000, mean=None, deviation=None)]})
    (found,) = drift.judged_against(list(gone.values()), SETTINGS.model_copy(update={"may_change": ("x",)}))
    assert (found.violation, found.reason) == (
        "",
        "0 rows with a value, 2,000 to compare with: fewer than 100",
    )


def test_a_share_of_missing_values_that_grows_slowly_is_no_break() -> None:
    slowly = missing(*[place / 100 for place in range(20)])

    assert of("29", slowly)["BASELINE x"].violation == "nulls"
    assert judged(slowly) == {}


def test_a_share_of_missing_values_that_is_back_is_mended_and_no_break_of_its_own() -> None:
    back = missing(*[0.0] * 6, *[0.3] * 6, *[0.0] * 6)

    assert of("24", back)["RECENT x"].violation == "nulls"
    assert judged(back) == {f"{window} x": "nulls" for window in range(16, 22)}


def test_windows_without_a_recent_reference_are_held_against_the_training_rows() -> None:
    assert judged(missing(0.2, 0.2)) == {"10 x": "nulls", "11 x": "nulls"}


def test_a_distribution_that_stays_is_the_new_normal() -> None:
    moved = {str(place): [number(str(place), (200, 500, 500, 800), mean=2.5)] for place in range(8)}

    found = of("7", moved)

    assert found["BASELINE x"].violation == "distribution"
    assert [each.violation for each in drift.judged_against(list(found.values()), SETTINGS)] == [""]


def test_pooled_windows_have_the_moments_of_all_their_rows() -> None:
    left = number("1", (2, 0, 0, 0), nulls=1, mean=1.0, deviation=0.5, least=0.5, greatest=1.5)
    right = number("2", (0, 0, 0, 6), mean=5.0, deviation=1.0, least=4.0, greatest=6.0)
    empty = number("3", (0, 0, 0, 0), nulls=4, mean=None, deviation=None)

    found = drift.pooled([left, right, empty])

    assert (found.rows, found.nulls, found.counts) == (13, 5, (2, 0, 0, 6))
    assert (found.mean, found.least, found.greatest) == (4.0, 0.5, 6.0)
    assert found.deviation == pytest.approx(((2 * (0.25 + 9) + 6 * (1 + 1)) / 8) ** 0.5)


def test_slices_are_judged_among_themselves() -> None:
    part = replace(number("1", (200, 500, 500, 800)), slice_key="plan", slice_value="a")
    base = replace(number("all"), slice_key="plan", slice_value="a")

    found = drift.of_window("1", {"1": [part, number("1")]}, [base, number("all")], BINS, SETTINGS)

    assert {(each.slice_value, each.violation) for each in found} == {("a", "distribution"), (None, "")}
    assert [each.slice_value for each in drift.judged_against(found, SETTINGS)] == [None]


def test_what_may_change_may_in_slices_too() -> None:
    part = replace(number("1", (400,) * 4, nulls=400), slice_key="plan", slice_value="a")
    base = replace(number("all"), slice_key="plan", slice_value="a")
    found = drift.of_window("1", {"1": [part]}, [base], BINS, SETTINGS)

    assert [each.violation for each in found] == ["nulls"]
    assert [each.violation for each in drift.unless_right(found, SETTINGS)] == ["nulls"]
    leave = SETTINGS.model_copy(update={"may_change": ("x",)})
    assert [each.violation for each in drift.unless_right(found, leave)] == [""]
