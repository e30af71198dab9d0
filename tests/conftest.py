"""One Spark session for the whole run, made by the product's own factory with fast options."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from shared.core.session import SessionConfig, get_session
from tests import kafka_broker
from tests.postgres import Server, running

# In a worker of xdist the main module has no file; pyspark takes that for a run of its own doctests, and may exit.
if not hasattr(sys.modules["__main__"], "__file__"):
    sys.modules["__main__"].__file__ = __file__

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    config = SessionConfig(
        master="local[2]",
        driver_memory="2g",
        jar_sets=("delta", "jdbc", "kafka"),
        shuffle_partitions=2,
        fast_start=True,
    )
    session = get_session(config, "tests")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the public data sets, beside the checkout."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"the public data sets are not at {REAL_DATA}; see the README for where to get them")
    return REAL_DATA


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def kafka() -> Iterator[kafka_broker.Broker]:
    with kafka_broker.running() as broker:
        yield broker
