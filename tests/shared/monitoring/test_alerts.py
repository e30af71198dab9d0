"""N of the last M windows and the newest, the cool-down, and what holds now."""

from shared.monitoring import alerts
from shared.monitoring.alerts import Kind, Violation
from shared.monitoring.settings import MonitoringConfig

WINDOWS = [f"w{place}" for place in range(9)]
WATCHED: dict[Kind, list[str]] = dict.fromkeys(alerts.KINDS, WINDOWS)


def fired(at: str, kind: Kind = "inputs", **settings: int) -> str:
    """The windows in which an alert fires, of violations at the places of a text like ``..xx.``."""
    config = MonitoringConfig(**{"cooldown_windows": 0, **settings})
    found = [Violation(f"w{place}", kind, "x", "moved") for place, mark in enumerate(at) if mark == "x"]
    watched = {**WATCHED, kind: WINDOWS[: len(at)]}
    got = {alert.window for alert in alerts.raised(found, watched, config)}
    return "".join("A" if f"w{place}" in got else "." for place in range(len(at)))


def test_two_of_the_last_three_and_the_newest() -> None:
    assert fired("x..x.x.xx") == ".....A.AA"
    assert fired("x........") == "........."


def test_the_newest_must_violate() -> None:
    assert fired("xx.......") == ".A......."


def test_n_and_m_are_settings() -> None:
    assert fired(".x.......", violations=1, windows=1) == ".A......."
    assert fired("x.x.x.x..", violations=3, windows=5) == "....A.A.."


def test_after_an_alert_it_is_quiet_for_a_while_about_the_same() -> None:
    assert fired("xxxxxxxxx", cooldown_windows=3) == ".A...A..."
    assert fired("xxxxxxxxx", cooldown_windows=100) == ".A......."


def test_broken_data_does_not_wait() -> None:
    assert fired("..x......", kind="data") == "..A......"


def test_a_first_window_can_only_fire_when_one_is_enough() -> None:
    assert fired("x") == "."
    assert fired("x", violations=1) == "A"


def test_an_alert_says_what_was_found_and_in_how_many_windows() -> None:
    found = [Violation("w3", "inputs", "x", "moved a little"), Violation("w4", "inputs", "x", "moved far")]

    (alert,) = alerts.raised(found, {**WATCHED, "inputs": WINDOWS[:5]}, MonitoringConfig())

    assert alert == alerts.Alert("w4", "inputs", "x", "moved far; in 2 of the last 3 windows")


def test_the_condition_is_that_of_the_newest_windows_whatever_has_been_sent() -> None:
    found = [Violation(window, "inputs", "x", "moved") for window in WINDOWS]
    found += [Violation("w1", "predictions", "p", "moved"), Violation("w2", "predictions", "p", "moved")]
    found += [Violation("w5", "performance", "model", "worse"), Violation("w4", "performance", "model", "worse")]

    state = alerts.condition(found, {**WATCHED, "performance": WINDOWS[:6]}, MonitoringConfig())

    assert (state.window, state.inputs_drifted, state.predictions_drifted) == ("w8", True, False)
    assert (state.performance_lost, state.data_broken) == (True, False)  # labels end with w5
    assert state.reasons == {
        "inputs": ["x: moved; in 3 of the last 3 windows"],
        "performance": ["model: worse; in 2 of the last 3 windows"],
    }


def test_without_windows_nothing_holds() -> None:
    state = alerts.condition([], dict.fromkeys(alerts.KINDS, ()), MonitoringConfig())

    assert (state.window, state.data_broken, state.reasons) == (None, False, {})
