"""Settings of monitoring: what counts as drift, when it is an alert, and where alerts go.

The defaults are for windows of some hundred to some ten thousand rows. A threshold of PSI is no setting: PSI grows with the
number of bins and with few rows; what counts is a test, corrected for the number of tests, and a size that matters.
"""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from shared.core.config import Settings
from shared.core.references import refused, without_logins


class SinkConfig(Settings):
    """Where alerts and figures go, besides the log.

    Args:
        file: local file that gets one JSON object a line per alert; None for none.
        webhook: address that gets each alert as a JSON POST, or a reference to it where it holds a token
            (``env:NAME``); private, loopback and link-local addresses are refused.
        webhook_hosts: hosts that may be private all the same, by name or address as in the URL.
        textfile: local file for Prometheus' textfile collector (``….prom``); None for none.
    """

    file: str | None = None
    webhook: str | None = None
    webhook_hosts: tuple[str, ...] = ()
    textfile: str | None = None

    @field_validator("file", "textfile")
    @classmethod
    def _is_local(cls, path: str | None) -> str | None:
        if path and "://" in path:
            raise ValueError(f"{without_logins(path)} is an address: give a path of this machine")
        return path

    @field_validator("webhook", mode="before")
    @classmethod
    def _has_no_login(cls, address: object) -> object:
        if isinstance(address, str) and address != without_logins(address):
            raise refused("A login in monitoring.sinks.webhook")
        return address


class MonitoringConfig(Settings):
    """What counts as drift, and when an alert fires.

    A column violates in a window when a test says so at `alpha`, corrected for all tests of the window (Holm), and the
    difference is at least as large as stated here, also at the lower end of its confidence interval. An alert fires when ``violations`` of the last ``windows`` windows,
    the newest among them, violate.

    Args:
        compare_with: ``recent`` compares a window with ``reference_windows`` windows that end ``windows`` before it, and
            with the training rows only where there are not so many: slow change, such as a growing tenure, is no alarm.
            ``baseline`` compares with the training rows always.
        violations: N of "N of the last M windows".
        windows: M.
        reference_windows: windows that are pooled to compare with.
        cooldown_windows: windows after an alert without another about the same.
        alpha: chance of a false violation in one window, over all its tests.
        min_rows: fewer rows with a value, on either side, give no statistic.
        min_distance: least Kolmogorov–Smirnov distance of a number, or total variation distance of a category;
            0.1 is a shift of a quarter of a standard deviation of a normal distribution.
        min_null_change: least change of the share of rows without a value.
        may_change: columns whose missing and new values somebody knows to be right, such as a new plan: as long as it is
            set they are no broken data in any window, and ``retrain`` goes on; their distribution is watched all the same.
        min_unseen: least share of values that the training rows did not have.
        min_auc_loss: least loss of AUC against the test rows of the evaluation.
        min_rate_error: least difference of the predicted and the observed rate.
        min_quality_change: least rise of the share of rows that were put aside by an ingestion, or by a stream in a day.
        slices: at most so many values of a slice column, the most frequent of the training rows; all others are one slice.
        fail_on_alert: exit with code 3 when a new alert fires.
        sinks: where alerts go.
    """

    compare_with: Literal["recent", "baseline"] = "recent"
    violations: int = Field(2, ge=1)
    windows: int = Field(3, ge=1)
    reference_windows: int = Field(3, ge=1)
    cooldown_windows: int = Field(3, ge=0)
    alpha: float = Field(0.01, gt=0.0, lt=1.0)
    min_rows: int = Field(100, ge=20)
    min_distance: float = Field(0.1, gt=0.0, lt=1.0)
    min_null_change: float = Field(0.05, gt=0.0, lt=1.0)
    may_change: tuple[str, ...] = ()
    min_unseen: float = Field(0.01, gt=0.0, lt=1.0)
    min_auc_loss: float = Field(0.05, gt=0.0, lt=0.5)
    min_rate_error: float = Field(0.02, gt=0.0, lt=1.0)
    min_quality_change: float = Field(0.01, gt=0.0, lt=1.0)
    slices: int = Field(10, ge=1)
    fail_on_alert: bool = False
    sinks: SinkConfig = SinkConfig()

    @model_validator(mode="after")
    def _counts(self) -> "MonitoringConfig":
        if self.violations > self.windows:
            raise ValueError(
                f"monitoring.violations is {self.violations}: at most monitoring.windows, which is {self.windows}"
            )
        return self
