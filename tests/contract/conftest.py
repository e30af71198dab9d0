"""Contracts that every vertical keeps; churn carries them, so its small runs are the reference."""

from tests.churn.conftest import churn, run_once, small_run

__all__ = ["churn", "run_once", "small_run"]
