"""The summary table of a check: one plain row per rule, for a Delta table, JSON and HTML."""

from collections.abc import Sequence
from typing import Final

from shared.quality.suite import RuleResult

COLUMNS: Final = (
    "rule string, column string, severity string, message string, scope string, checked_count bigint,"
    " failed_count bigint, failed_share double, examples array<string>"
)
"""The columns of the summary table, as DDL."""


def as_rows(found: Sequence[RuleResult]) -> list[dict[str, object]]:
    """Return the summary table, with the names of `COLUMNS`; broken rules first, most rows first."""
    return [
        {
            "rule": result.rule,
            "column": result.column,
            "severity": result.severity,
            "message": result.message,
            "scope": result.scope,
            "checked_count": result.checked,
            "failed_count": result.failed,
            "failed_share": result.share,
            "examples": list(result.examples),
        }
        for result in _worst_first(found)
    ]


def _worst_first(found: Sequence[RuleResult]) -> list[RuleResult]:
    return sorted(found, key=lambda result: (-result.share, -result.failed, result.column, result.rule))
