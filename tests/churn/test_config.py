"""The settings below a user's own follow from the source."""

from pathlib import Path

import pytest

from churn.config import ChurnConfig, layers
from shared.core.errors import ConfigError
from tests.churn.conftest import Churn


@pytest.mark.parametrize("source", ["hdfs:///data/Telco-Customer-Churn.csv", "s3a://b/telco/Telco-Customer-Churn.csv"])
def test_the_publishers_file_is_known_at_a_uri_too(source: str) -> None:
    config = ChurnConfig.load(*layers(source))

    assert (config.shape, config.split.by) == ("customers", "customer")


def test_a_quick_jvm_is_for_the_embedded_data_only() -> None:
    small, whole = ChurnConfig.load(*layers(None)), ChurnConfig.load(*layers("hdfs:///x/CDNOW_master.txt.gz"))

    assert small.session.fast_start
    assert not whole.session.fast_start
    assert (whole.model.boosted_trees, whole.model.boosted_step) == (30, 0.3)


def test_a_table_without_dates_cannot_be_split_by_time() -> None:
    with pytest.raises(ConfigError, match=r"CONFIG_INVALID.*split.by=customer"):
        ChurnConfig.load(*layers(None), "shape: customers")


def test_the_source_may_be_named_in_the_settings(churn: Churn, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(f"source: {tmp_path / 'nowhere'}")

    result = churn("ingest", "--config", own, "--warehouse", tmp_path / "w")

    assert result.exit_code == 2
    assert "[SOURCE_MISSING]" in result.stderr
