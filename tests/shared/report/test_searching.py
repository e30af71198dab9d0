"""A search is shown by its best trials, the configured one and the chosen one, with the reason."""

from typing import Any

from shared.report import searching
from tests.shared.report.conftest import build, tuning
from tests.shared.report.test_html import Page, html


def of(**search: Any) -> dict[str, Any]:
    document = tuning()
    return {**document, "searches": {"logistic": {**document["searches"]["logistic"], **search}}}


def test_the_best_the_configured_and_the_chosen_trial_are_shown_best_first() -> None:
    (table,) = searching.tables(tuning(), {"logistic": "logistic regression"})

    assert [(row.number, row.note, row.is_chosen) for row in table.rows] == [
        (3, "best", False),
        (1, "", False),
        (0, "as configured", False),
        (4, "", True),
        (5, "", False),
    ]
    (table,) = searching.tables(of(chosen=2), {})
    assert (table.name, [row.number for row in table.rows if row.is_chosen]) == ("logistic", [2])
    assert table.settings == ["logistic_penalty", "knots"]


def test_the_reason_names_the_error_and_how_many_are_within_it() -> None:
    (simpler,), (best,) = searching.tables(tuning(), {}), searching.tables(of(chosen=3), {})

    assert simpler.reason == (
        "Trial 4 is chosen: it is the simplest of the 4 within one standard error of the best, trial 3 with "
        "0.4098 ± 0.0042. Ended after 8 trials: nothing gained in 4 trials."
    )
    assert best.reason.startswith("Trial 3 is chosen: it has the least loss, 0.4098, and no simpler one is within")


def test_a_search_without_a_trial_is_not_shown() -> None:
    assert searching.tables(of(trials=[], best=None, chosen=None), {}) == []


def test_the_note_says_which_folds_and_what_was_taken_over() -> None:
    by_customer = {**tuning(), "folds": {"by": "customer", "held_out": ["part 1 of 2", "part 2 of 2"]}}

    assert "8 trials by optuna in 0.5 minutes, 3 of them taken from an earlier run" in searching.note(
        tuning(), group="customer"
    )
    assert "forward in time, each fitted on what was known before it began (2024-05-01; " in searching.note(
        tuning(), group="customer"
    )
    assert "2 folds of the training rows, by customer" in searching.note(by_customer, group="customer")


def test_the_page_shows_the_search() -> None:
    text = Page(html.render(build())).text

    assert "Settings tried, on folds of the training rows" in text
    assert "4 chosen" in text
    assert "Log loss ± standard error" in text
    assert "0.4131 ± 0.0042" in text
