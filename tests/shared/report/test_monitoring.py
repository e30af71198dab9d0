"""The monitoring page: whole, self-contained, and saying what was found."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from scipy.stats import norm

from shared.monitoring import drift
from shared.monitoring.bins import ColumnBins
from shared.monitoring.history import ModelKey
from shared.monitoring.performance import Performance
from shared.monitoring.profile import Profile
from shared.monitoring.quality import Rejected
from shared.monitoring.settings import MonitoringConfig
from shared.monitoring.watch import Found, Watched, judge
from shared.report.html import Model
from shared.report.monitoring import MonitoringPage, render

WINDOWS = [f"2024-{month:02d}-01" for month in range(1, 13)]
SETTINGS = MonitoringConfig()
EDGES = tuple(norm.ppf(place / 10) for place in range(1, 10))
BINS = [
    ColumnBins("minutes_30", "numeric", edges=EDGES),
    ColumnBins("plan <b>", "categorical", levels=("a", "b"), hashes=(1, 2)),
    ColumnBins("probability", "numeric", edges=EDGES),
]


def numbers(window: str, column: str, shift: float, **part: Any) -> Profile:
    bounds = [0.0, *(norm.cdf(edge - shift) for edge in EDGES), 1.0]
    counts = tuple(round(2_000 * (high - low)) for low, high in pairwise(bounds))
    return Profile(window, part.get("key"), part.get("value"), column, sum(counts), 0, counts, shift, 1.0, -3.0, 3.0)


def profiles(window: str, shift: float) -> list[Profile]:
    plan = Profile(window, None, None, "plan <b>", 2_000, 0, (1_200, 800, 0))
    part = numbers(window, "minutes_30", shift, key="plan", value="a")
    return [numbers(window, "minutes_30", shift), plan, numbers(window, "probability", shift / 5), part]


def found(shift: float = 0.5, auc: float = 0.84) -> tuple[Found, Watched]:
    baseline = profiles("all", 0.0)
    watched = Watched(
        ModelKey("churn", 3, "run"),
        BINS,
        baseline,
        {"auc": 0.86, "rows": 4_000, "positives": 300},
        "label",
        "probability",
        {},
        WINDOWS[5],
    )
    history = {window: profiles(window, shift if place > 8 else 0.0) for place, window in enumerate(WINDOWS)}
    drifts = [each for window in WINDOWS for each in drift.of_window(window, history, baseline, BINS, SETTINGS)]
    known = [
        Performance(w, 2_000, 2_000, 150, auc if place > 7 else 0.86, 0.06, 0.008, 0.075, 0.078, 0.006)
        for place, w in enumerate(WINDOWS[:-2])
    ]
    unknown = [Performance(w, 2_000, 0, reason="no label has matured yet") for w in WINDOWS[-2:]]
    performances = {each.window: each for each in known + unknown}
    everything = [each for each_window in history.values() for each in each_window]
    return judge(everything, drifts, performances, watched, SETTINGS), watched


def page(**values: Any) -> str:
    what, watched = found(**values)
    day = datetime(2024, 12, 2, tzinfo=UTC)
    days = [day.date() - timedelta(days=30 * (5 - place)) for place in range(6)]
    rejected = [Rejected(each, 10_000, 20 + place) for place, each in enumerate(days)]
    return render(
        MonitoringPage(
            "Is the churn model still right?",
            "Customer churn",
            Model("churn", 3, "champion"),
            "20241202T080000Z-abcdef",
            day,
            "customers",
            what,
            watched,
            SETTINGS,
            rejected,
        )
    )


def words(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]+>", " ", text, flags=re.DOTALL))


def test_a_drift_is_said_framed_and_listed_as_an_alert() -> None:
    text = page()

    assert "The customers have changed; labels do not show a loss so far." in words(text)
    assert len(re.findall(r'<td class="out', text)) == 3  # minutes_30 in the three windows that moved
    assert re.search(r"2024-11-01 inputs minutes_30 KS 0\.1\d\d from 2024-06-01 to 2024-08-01", words(text))
    assert "Mean of minutes_30" in text
    assert "plan = a" in words(text)


def test_nothing_to_say_is_said() -> None:
    text = words(page(shift=0.0))

    assert "Nothing that matters has changed." in text
    assert "None has fired for this model." in text


def test_a_loss_comes_before_drift() -> None:
    assert "It has got worse: train a challenger." in words(page(auc=0.7))


def test_the_page_is_self_contained_and_escapes_names() -> None:
    text = page()

    assert not any(sign in text for sign in ("<script", 'src="', 'href="http', "@import", "plan <b>"))
    assert "plan &lt;b&gt;" in text
    assert text == page()


def test_performance_stands_beside_its_labels() -> None:
    text = words(page())

    assert "2024-12-01 2,000 0% – – – – – no label has matured yet" in text
    assert "2024-10-01 2,000 100.0% 0.840" in text
