"""A challenger passes when every gate says so; whatever is missing, empty or no number says no."""

import copy
import math
from typing import Any

import pytest

from shared.registry.gates import Comparison, GateConfig, Verdict, verdict

GOOD: dict[str, Any] = {
    "features_version": 4,
    "test": {
        "rows": 900,
        "positives": 90,
        "auc": 0.8,
        "auc_ci": [0.75, 0.85],
        "log_loss": 0.25,
        "brier": 0.06,
        "ece": 0.03,
        "ece_by_chance": 0.02,
    },
    "baseline": {"auc": 0.5, "log_loss": 0.33},
    "slices": {"plan": [{"slice": "basic", "rows": 900, "observed": 0.1, "predicted": 0.1, "auc": None}]},
    "parity": {"rows": 1040, "edge_rows": 40, "largest_difference": 1e-7, "tolerance": 1e-5},
}
BETTER = Comparison(
    metric="log_loss",
    gain=0.02,
    low=0.01,
    high=0.03,
    rows=900,
    positives=90,
    slices={"plan": [{"slice": "basic", "rows": 700, "loss": -0.02}, {"slice": "pro", "rows": 200, "loss": 0.04}]},
)


def judge(evaluation: dict[str, Any] = GOOD, settings: dict[str, Any] | None = None, **facts: Any) -> Verdict:
    given = {"newest_version": 4, "slices": ["plan"], "has_champion": True, "comparison": BETTER, **facts}
    return verdict(GateConfig(**(settings or {})), evaluation, **given)


def failed(found: Verdict) -> list[str]:
    return [gate.name for gate in found.gates if not gate.passed]


def changed(path: str, value: Any) -> dict[str, Any]:
    """GOOD with another value at ``path``; without what is there when the value is None."""
    evaluation = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    place = evaluation
    for name in parents:
        place = place[name]
    place[last] = value
    if value is None:
        del place[last]
    return evaluation


def test_a_better_challenger_passes_every_gate_and_the_verdict_carries_the_figures() -> None:
    found = judge()

    assert found.passed
    assert [gate.name for gate in found.gates] == [
        "evaluation",
        "newest_table",
        "baseline",
        "calibration",
        "gain",
        "slices",
        "online_parity",
    ]
    assert found.as_dict()["table_version"] == 4
    assert found.as_dict()["gates"][4]["figures"] == {
        "metric": "log_loss",
        "gain": 0.02,
        "low": 0.01,
        "high": 0.03,
        "rows": 900,
        "positives": 90,
        "left_out": 0,
        "needed": 0.0,
    }


def test_the_first_model_has_to_beat_the_baseline_alone() -> None:
    first = judge(has_champion=False, comparison=None)

    assert first.passed
    assert "gain" not in [gate.name for gate in first.gates]
    useless = judge(changed("test.auc_ci", [0.49, 0.6]), has_champion=False, comparison=None)
    assert failed(useless) == ["baseline"]
    assert failed(judge(changed("test.log_loss", 0.34), has_champion=False, comparison=None)) == ["baseline"]


@pytest.mark.parametrize(
    ("path", "gates"),
    [
        ("features_version", {"newest_table"}),
        ("test", {"evaluation", "baseline", "calibration"}),
        ("baseline", {"evaluation", "baseline"}),
        ("slices", {"evaluation"}),
        ("slices.plan", {"evaluation"}),
        ("test.rows", {"evaluation", "calibration"}),
        ("test.auc_ci", {"baseline"}),
        ("test.log_loss", {"evaluation", "baseline"}),
        ("test.ece", {"evaluation", "calibration"}),
        ("test.ece_by_chance", {"evaluation", "calibration"}),
        ("baseline.auc", {"evaluation", "baseline"}),
        ("parity", {"online_parity"}),
        ("parity.rows", {"online_parity"}),
        ("parity.edge_rows", {"online_parity"}),
        ("parity.largest_difference", {"online_parity"}),
        ("parity.tolerance", {"online_parity"}),
    ],
)
def test_what_is_missing_empty_or_no_number_fails(path: str, gates: set[str]) -> None:
    for value in (None, {}, math.nan, math.inf, "0.1", True):
        assert set(failed(judge(changed(path, value)))) == gates, value


def test_an_evaluation_of_no_rows_or_of_one_class_fails() -> None:
    assert not judge({}).passed
    assert failed(judge(changed("test.positives", 0))) == ["evaluation"]
    assert failed(judge(changed("test.positives", 900))) == ["evaluation"]
    assert failed(judge(changed("slices.plan", []))) == ["evaluation"]
    assert failed(judge(changed("slices.plan", [{"slice": "a", "rows": 3, "observed": math.nan, "predicted": 1}]))) == [
        "evaluation"
    ]


@pytest.mark.parametrize(("rows", "positives"), [(2, 1), (99, 50), (900, 19), (900, 881)])
def test_few_rows_or_few_of_one_label_judge_nobody(rows: int, positives: int) -> None:
    few = changed("test.rows", rows)
    few["test"] |= {"positives": positives, "ece": 0.0}

    assert failed(judge(few)) == ["evaluation"]
    assert failed(judge(comparison=with_gain(rows=rows, positives=positives))) == ["gain"]
    assert "at least 100 with 20 of each label are needed" in judge(few).reason
    assert judge(few, {"min_rows": 2, "min_positives": 1}).passed


def test_as_many_rows_as_are_asked_for_are_enough() -> None:
    few = changed("test.rows", 100)
    few["test"] |= {"positives": 20}

    assert judge(few, comparison=with_gain(rows=100, positives=80)).passed


def test_an_evaluation_of_an_older_version_of_the_table_fails() -> None:
    assert failed(judge(newest_version=5)) == ["newest_table"]


def test_calibration_is_judged_against_what_chance_gives_and_what_so_few_rows_can_tell() -> None:
    # .02 by chance, .03 allowed, and twice the standard error of a rate of .1 on 900 rows, which is .01.
    assert judge(changed("test.ece", 0.0699)).passed
    assert failed(judge(changed("test.ece", 0.0701))) == ["calibration"]
    assert judge(changed("test.ece", 0.0701), {"max_ece_excess": 0.04}).passed
    few, ten = changed("test.rows", 100), {"min_positives": 10}
    few["test"] |= {"positives": 10, "ece": 0.1099}
    assert judge(few, ten).passed
    few["test"]["ece"] = 0.1101
    assert failed(judge(few, ten)) == ["calibration"]


def with_gain(**facts: Any) -> Comparison:
    return Comparison(**{**BETTER.__dict__, **facts})


@pytest.mark.parametrize(
    "comparison",
    [
        with_gain(low=0.0),
        with_gain(low=-0.001),
        with_gain(low=math.nan),
        with_gain(gain=math.nan),
        with_gain(rows=0),
        with_gain(metric="auc"),
    ],
)
def test_a_gain_within_the_noise_is_none(comparison: Comparison) -> None:
    assert failed(judge(comparison=comparison)) == ["gain"]


def test_the_gain_has_to_be_more_than_asked() -> None:
    assert judge(settings={"min_gain": 0.009}).passed
    assert failed(judge(settings={"min_gain": 0.01})) == ["gain"]


def test_a_champion_that_was_not_compared_stays_and_the_gate_says_why() -> None:
    found = judge(comparison=None, incomparable="the champion needs the columns ['visits']")

    assert failed(found) == ["gain", "slices"]
    assert "needs the columns ['visits']" in found.reason


def test_a_large_slice_may_not_get_worse_than_allowed() -> None:
    assert failed(judge(settings={"max_slice_loss": 0.039})) == ["slices"]
    assert "plan pro by 0.04" in judge(settings={"max_slice_loss": 0.039}).reason
    assert judge(settings={"max_slice_loss": 0.039, "min_slice_rows": 201}).passed


def test_small_slices_of_a_column_are_judged_together_and_none_pass_because_all_are_small() -> None:
    def found(*slices: tuple[int, float]) -> Verdict:
        plans = [{"slice": str(number), "rows": rows, "loss": loss} for number, (rows, loss) in enumerate(slices)]
        return judge(comparison=with_gain(slices={"plan": plans}))

    assert "the worst is the 2 small ones of plan: 0.04" in found((900, 0.0), (75, 0.05), (25, 0.01)).reason
    assert failed(found((900, 0.0), (75, 0.2), (25, 0.01))) == ["slices"]
    assert failed(found((60, 0.2), (60, 0.2))) == ["slices"]
    assert found((900, 0.0), (99, 0.9)).passed  # so few rows say little
    assert found((50, 0.0), (40, 0.0)).passed
    assert failed(found((50, 0.2), (40, 0.2))) == [
        "slices"
    ]  # few, but all there are: the gain has to be on rows enough


@pytest.mark.parametrize("slices", [{}, {"plan": []}, {"plan": [{"slice": "a", "rows": 500, "loss": math.nan}]}])
def test_a_slice_that_was_not_compared_fails(slices: dict[str, Any]) -> None:
    assert failed(judge(comparison=with_gain(slices=slices))) == ["slices"]


def test_an_export_that_differs_fails_unless_nobody_is_served_with_it() -> None:
    differing = changed("parity.largest_difference", 2e-5)

    assert failed(judge(differing)) == ["online_parity"]
    assert judge(differing, {"online_parity": False}).passed
    lenient = {**GOOD["parity"], "largest_difference": 2e-5, "tolerance": 0.5}
    assert failed(judge(changed("parity", lenient))) == ["online_parity"]


def test_an_export_that_was_compared_on_few_rows_fails_however_many_edge_cases_there_were() -> None:
    few = judge(changed("parity", {**GOOD["parity"], "rows": 1999, "edge_rows": 1000}))

    assert failed(few) == ["online_parity"]
    assert "on 999 rows beside edge cases, at least 1000 are needed" in few.reason
    assert judge(changed("parity", {**GOOD["parity"], "rows": 2000, "edge_rows": 1000})).passed


def test_no_gates_are_no_pass() -> None:
    assert not Verdict(()).passed
