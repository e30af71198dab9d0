import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest
from pyspark.sql import SparkSession

from shared.core.errors import ConfigError
from shared.core.session import DELTA_EXTENSION, SessionConfig, get_session

ROOT = Path(__file__).parents[3]


def test_a_running_session_is_taken_as_it_is(spark: SparkSession) -> None:
    before = spark.conf.get("spark.sql.shuffle.partitions")

    taken = get_session(SessionConfig(shuffle_partitions=77))

    assert taken is spark
    assert taken.conf.get("spark.sql.shuffle.partitions") == before


def test_a_running_session_is_taken_as_it_is_in_another_thread(spark: SparkSession) -> None:
    before = spark.conf.get("spark.sql.shuffle.partitions")
    taken = []

    thread = Thread(target=lambda: taken.append(get_session(SessionConfig(shuffle_partitions=77))))
    thread.start()
    thread.join()

    assert taken == [spark]
    assert spark.conf.get("spark.sql.shuffle.partitions") == before


def test_the_session_works_in_utc_and_writes_delta(spark: SparkSession, tmp_path) -> None:
    path = str(tmp_path / "t")
    spark.range(3).write.format("delta").save(path)

    assert spark.read.format("delta").load(path).count() == 3
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"


@pytest.mark.parametrize(
    "setting",
    [
        "spark.hadoop.fs.s3a.secret.key=hunter2",
        "spark.hadoop.fs.azure.account.key.me.dfs.core.windows.net=hunter2",
        "spark.ssl.keyPassword=83749201",
        "spark.hadoop.javax.jdo.option.ConnectionURL=jdbc:postgresql://u:hunter2@h/db",
    ],
)
def test_a_secret_among_the_spark_settings_is_refused_and_not_repeated(setting: str) -> None:
    with pytest.raises(ConfigError, match="SECRET_NOT_A_REFERENCE") as caught:
        SessionConfig.load(overrides=[f"conf.{setting}"])

    assert "hunter2" not in str(caught.value)
    assert "83749201" not in str(caught.value)


def test_spark_settings_may_be_numbers_and_words_of_yaml() -> None:
    config = SessionConfig.load("conf: {spark.ui.enabled: true, spark.ui.port: 4050}", overrides=["conf.spark.a.b=x"])

    assert config.conf == {"spark.ui.enabled": "true", "spark.ui.port": "4050", "spark.a.b": "x"}


@pytest.mark.parametrize("remote", ["sc://h:443/;use_ssl=true;token=hunter2", "sc://h/;token=hunter2"])
def test_a_token_in_the_address_of_a_server_is_refused_and_not_repeated(remote: str) -> None:
    with pytest.raises(ConfigError, match="SECRET_NOT_A_REFERENCE") as caught:
        SessionConfig.load(f"remote: '{remote}'")

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("remote", ["http://h:15002", "h:15002", "yarn"])
def test_an_address_that_is_no_server_of_connect_is_refused(remote: str) -> None:
    with pytest.raises(ConfigError, match=r"CONFIG_INVALID.*sc://host:port"):
        SessionConfig.load(f"remote: '{remote}'")


@pytest.mark.parametrize("remote", ["sc://h:15002", "sc://h/;use_ssl=true", "local[2]", "env:SPARK_ADDRESS"])
def test_a_server_a_local_master_or_a_reference_is_taken(remote: str) -> None:
    assert SessionConfig.load(f"remote: '{remote}'").remote == remote


_SUBMITTED = """
from shared.core.session import SessionConfig, get_session
conf = {"spark.hadoop.fs.s3a.secret.key": "env:TEST_S3_SECRET", "spark.sql.warehouse.dir": "file:/tmp/x"}
spark = get_session(SessionConfig(conf=conf))
for name in ("extensions", "catalog.spark_catalog", "warehouse.dir", "session.timeZone"):
    print(name, spark.conf.get(f"spark.sql.{name}"))
print("redaction", spark.conf.get("spark.redaction.regex"))
print("secret", spark.sparkContext._jsc.hadoopConfiguration().get("fs.s3a.secret.key"))
"""


@pytest.mark.slow
def test_what_was_submitted_is_kept_and_references_are_resolved(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(_SUBMITTED)
    # Settings alone: an extension that is not there is only warned of, and the catalog is not asked for anything.
    extension, catalog = "org.example.Extension", "org.example.Catalog"
    env = os.environ | {"PYTHONPATH": str(ROOT), "TEST_S3_SECRET": "s3cr3t", "PYSPARK_PYTHON": sys.executable}

    done = subprocess.run(
        [
            Path(sys.executable).parent / "spark-submit",
            *("--master", "local[1]", "--conf", "spark.ui.enabled=false", "--conf", "spark.redaction.regex=pin"),
            *("--conf", f"spark.sql.extensions={extension}", "--conf", f"spark.sql.catalog.spark_catalog={catalog}"),
            *("--jars", spark.conf.get("spark.jars")),
            tmp_path / "app.py",
        ],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )

    found = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert found.get("extensions") == f"{extension},{DELTA_EXTENSION}", done.stderr[-2000:]
    assert found["catalog.spark_catalog"] == catalog
    assert "pin" in found["redaction"]
    assert "password" in found["redaction"]
    assert (found["secret"], found["session.timeZone"]) == ("s3cr3t", "UTC")
    assert found["warehouse.dir"] == "file:/tmp/x"
