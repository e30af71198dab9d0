"""What a report shows of a yes/no model whose selected rows cost and earn money: metrics, plots, slices, a decision.

All of it follows from the document that an evaluation stored, a mapping with: ``test``, ``baseline`` and ``ceiling``
(metrics by name as `shared.evaluation.binary` has them, ``<name>_ci`` for an interval and ``ece_by_chance`` among the
first, an empty ceiling where the truth is not known), ``points`` (threshold, positives and negatives selected, by
descending threshold), ``calibration`` (predicted, observed, rows), ``confusion`` (counts at its ``threshold``) and
``slices`` (column → parts). Money is counted with the costs that are passed, which may have changed since.
"""

import math
from collections.abc import Mapping
from typing import Any

from shared.evaluation.binary import Point
from shared.evaluation.thresholds import Confusion, Costs, profit_curve
from shared.report import figures, html
from shared.report.html import Figure, MetricRow, Slice


def decided_at(evaluation: Mapping[str, Any], costs: Costs) -> Confusion:
    """Return the counts at the threshold of ``costs``.

    Where that is the threshold of the evaluation they are those it counted; else they are read off the curve, at the
    last of its points that is not below the threshold: with 200 points, at most half a percent of the rows is missed.
    """
    counted, test = evaluation["confusion"], evaluation["test"]
    true, false = counted["true_positives"], counted["false_positives"]
    if not math.isclose(counted["threshold"], costs.threshold):
        above = [tuple(selected) for threshold, *selected in evaluation["points"] if threshold >= costs.threshold]
        true, false = above[-1] if above else (0, 0)
    positives, negatives = test["positives"], test["rows"] - test["positives"]
    return Confusion(costs.threshold, true, false, positives - true, negatives - false)


def is_calibrated(test: Mapping[str, Any]) -> bool:
    """Tell whether the calibration error is at most 0.03, or little more than what chance leaves on so few rows."""
    return bool(test["ece"] <= max(0.03, 1.5 * test["ece_by_chance"]))


def metrics(evaluation: Mapping[str, Any], meanings: Mapping[str, str]) -> list[MetricRow]:
    """Return a row for each metric that ``meanings`` explains, in its order."""
    test, baseline, ceiling = evaluation["test"], evaluation["baseline"], evaluation["ceiling"]
    rows = []
    for name, meaning in meanings.items():
        low, high = test.get(f"{name}_ci", (None, None))
        if name == "ece":  # neither a constant rate nor the truth says what an error of zero would be
            meaning = f"{meaning}; {test['ece_by_chance']:.3f} by chance alone on so few rows"
            rows.append(MetricRow(name, test[name], low, high, meaning=meaning))
            continue
        # At best, the tenth with the highest scores holds positives only, or all of them.
        perfect = min(test["rows"] / test["positives"], 10.0) if name == "lift_at_10pct" else None
        row = MetricRow(name, test[name], low, high, baseline[name], ceiling.get(name), meaning, perfect)
        rows.append(row)
    return rows


def found_in(evaluation: Mapping[str, Any], share: float) -> float:
    """Return which share of the positives the ``share`` of the rows with the highest scores holds (0 to 1)."""
    return figures.read_off(_gains(evaluation), share)


def plots(evaluation: Mapping[str, Any], decided: Confusion, costs: Costs, *, positives: str) -> list[Figure]:
    """Return the plots of the decision (gains, profit) and of the result (calibration, lift, ROC, precision).

    Args:
        evaluation: see the module.
        decided: counts at the threshold, from `decided_at`.
        costs: of the decision.
        positives: what rows with label 1 are called, e.g. churners.
    """
    test, points = evaluation["test"], evaluation["points"]
    hits, misses = test["positives"], test["rows"] - test["positives"]
    rate = hits / test["rows"]
    roc = [(0.0, 0.0), *((false / misses, true / hits) for _, true, false in points)]
    precision = [(true / hits, true / (true + false)) for _, true, false in points]
    lift = [((true + false) / test["rows"], true / (true + false) / rate) for _, true, false in points]
    selected = (decided.true_positives, decided.false_positives)
    profit = profit_curve([Point(*point) for point in points], costs)
    return [
        Figure(
            "Gains",
            figures.gains(_gains(evaluation), rate, positives=positives),
            f"How many {positives} are found by contacting those with the highest scores first.",
            "decision",
        ),
        Figure(
            "Profit",
            figures.profit(profit, sum(selected) / test["rows"], earned=costs.profit(*selected)),
            "What contacting a share is expected to earn, in the currency of the costs. The threshold follows from the "
            "costs; it was not searched for on these rows.",
            "decision",
        ),
        Figure(
            "Calibration",
            figures.calibration([tuple(bin_) for bin_ in evaluation["calibration"]]),
            "Each dot is a tenth of the rows, with its 95% interval. On the line, a probability can be taken at its word.",
        ),
        Figure(
            "Lift",
            figures.lift(lift, lifted=test["lift_at_10pct"]),
            f"Share of {positives} among the contacted over their share among all.",
        ),
        Figure("ROC", figures.roc(roc, test["auc"]), f"Share of {positives} found against share of others contacted."),
        Figure(
            "Precision and recall",
            figures.precision_recall(precision, rate),
            f"Share of {positives} among the contacted (precision) by share of {positives} found (recall).",
        ),
    ]


def confusion(decided: Confusion, costs: Costs, *, positive: str, negative: str) -> html.Confusion:
    """Return the decision as a table, with the money of each cell."""
    return html.Confusion(
        threshold=decided.threshold,
        true_positives=decided.true_positives,
        false_positives=decided.false_positives,
        false_negatives=decided.false_negatives,
        true_negatives=decided.true_negatives,
        earned=costs.profit(decided.true_positives, 0),
        spent=costs.profit(0, decided.false_positives),
        missed=costs.profit(decided.false_negatives, 0),
        positive=positive,
        negative=negative,
        selected="Contact",
        left="Leave alone",
    )


def slices(evaluation: Mapping[str, Any]) -> list[Slice]:
    """Return the parts of the test rows that were evaluated on their own; none where the data has no such column."""
    return [
        Slice(column, part["slice"], part["rows"], part["observed"], part["predicted"], part["auc"])
        for column, found in evaluation["slices"].items()
        for part in found
    ]


def _gains(evaluation: Mapping[str, Any]) -> list[tuple[float, float]]:
    test = evaluation["test"]
    reached = [((true + false) / test["rows"], true / test["positives"]) for _, true, false in evaluation["points"]]
    return [(0.0, 0.0), *reached]
