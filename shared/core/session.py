"""The one place that makes a Spark session, and the only one that may touch the Spark context.

A session that already runs (a notebook, a Databricks job, Spark Connect) is taken as it is: nothing of it is changed.
"""

import logging
import os
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from shared.core import jars
from shared.core.errors import EnvironmentProblem
from shared.core.references import is_reference, is_secret_like
from shared.core.secrets import resolve
from shared.core.session_config import SessionConfig as SessionConfig

_CONNECT_SECONDS = 20
_LOG_SETTINGS = Path(__file__).with_name("log4j2.properties")
DELTA_EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
DELTA_CATALOG = "org.apache.spark.sql.delta.catalog.DeltaCatalog"
_EXTENSIONS, _CATALOG, _REDACTION = "spark.sql.extensions", "spark.sql.catalog.spark_catalog", "spark.redaction.regex"


def get_session(config: SessionConfig | None = None, app_name: str = "accelerators") -> SparkSession:
    """Return the running session, whichever thread started it, or make one from ``config``.

    A running session keeps its time zone: days are cut in UTC by the code that cuts them, not by the session.

    Raises:
        EnvironmentProblem: Spark cannot start, a secret is not where its reference says, or the session cannot write
            Delta tables.
    """
    try:
        return _with_delta(SparkSession.active())
    except PySparkException as error:
        if error.getCondition() != "NO_ACTIVE_OR_DEFAULT_SESSION":
            raise
    if on_databricks():
        return _with_delta(SparkSession.builder.getOrCreate())
    config = config or SessionConfig()
    start = _connect if config.remote or "SPARK_REMOTE" in os.environ else _start
    return _with_delta(start(config, app_name))


def stop(spark: SparkSession) -> None:
    """Stop a session that `get_session` made; a platform's session is left running."""
    if not on_databricks():
        spark.stop()


def _start(config: SessionConfig, app_name: str) -> SparkSession:
    builder = SparkSession.builder.appName(app_name)
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if not submitted:
        _prepare(is_local=_is_local(config))
        if config.master:
            builder = builder.master(config.master)
    # Of a submitted application master, memory and jars are the caller's, given to spark-submit.
    below = _submitted_conf() if submitted else _local_conf(config)
    own = {name: _resolved(name, value) for name, value in config.conf.items()}
    for name, value in _with_defaults(below | own).items():
        builder = builder.config(name, value)
    with _starting():
        return builder.getOrCreate()


def _connect(config: SessionConfig, app_name: str) -> SparkSession:
    """Return a session of Spark Connect: of a server that runs, or of one that is started in this process's JVM."""
    try:
        from pyspark.sql.connect.session import SparkSession as RemoteSession
    except ImportError as error:
        found = f"Spark Connect cannot be used: {_first_line(error)}"
        raise EnvironmentProblem("CONNECT_MISSING", found, "", "Install pyspark[connect].") from error
    address = config.remote or os.environ["SPARK_REMOTE"]
    if is_reference(address):
        address = resolve(address).reveal()
    own = {name: _resolved(name, value) for name, value in config.conf.items()} | {"spark.sql.session.timeZone": "UTC"}
    with _starting():
        if address.startswith("local"):
            _prepare(is_local=True)
            local = _with_defaults(_local_conf(config) | own) | {"spark.app.name": app_name}
            port = _free_port()
            local |= {"spark.connect.grpc.binding.address": "127.0.0.1", "spark.connect.grpc.binding.port": str(port)}
            # As `builder.remote(address)` does, but for the port: always the same one would serve one session a machine.
            os.environ["SPARK_LOCAL_REMOTE"] = "1"
            RemoteSession._start_connect_server(address, local)
            address = f"sc://localhost:{port}"
        _check_reachable(address)
        os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"
        return cast(SparkSession, RemoteSession.builder.config(map={**own, "spark.remote": address}).getOrCreate())


def _check_reachable(address: str) -> None:
    """Refuse a server that does not answer; pyspark would ask again for minutes."""
    import grpc
    from pyspark.sql.connect.client import DefaultChannelBuilder

    builder = DefaultChannelBuilder(address)
    channel = builder.toChannel()
    try:
        grpc.channel_ready_future(channel).result(timeout=_CONNECT_SECONDS)
    except grpc.FutureTimeoutError as error:
        found = f"No Spark Connect server answers at {builder.endpoint}."
        raise EnvironmentProblem("CONNECT_UNREACHABLE", found, "", "Check session.remote and the network.") from error
    finally:
        channel.close()


@contextmanager
def _starting() -> Iterator[None]:
    # pyspark repeats every failed query as a line of JSON with a stack trace; the error itself says enough.
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    except (PySparkException, OSError, RuntimeError) as error:
        raise EnvironmentProblem(
            "SPARK_NOT_STARTED", f"Spark did not start: {_first_line(error)}", "", "Run python -m shared doctor."
        ) from error


def _prepare(*, is_local: bool) -> None:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if is_local:
        # A host name that does not resolve would stop the JVM.
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _submitted_conf() -> dict[str, str]:
    SparkContext._ensure_initialized()  # connects to the JVM that spark-submit started, which has the settings
    return dict(SparkConf().getAll())


def _is_local(config: SessionConfig) -> bool:
    return (config.master or "local").startswith("local")


def _resolved(name: str, value: str) -> str:
    # Elsewhere `file:` begins a path, as in spark.eventLog.dir.
    names_secret = is_reference(value) and (is_secret_like(name) or not value.startswith("file:"))
    return resolve(value).reveal() if names_secret else value


def _with_defaults(given: Mapping[str, str]) -> dict[str, str]:
    """Return ``given`` with what Delta needs at start, UTC, quick Arrow batches and a wider redaction; what is set is kept."""
    extensions = [name for name in given.get(_EXTENSIONS, "").split(",") if name]
    if DELTA_EXTENSION not in extensions:
        extensions.append(DELTA_EXTENSION)
    hidden = "(?i)secret|password|token|access[.]?key|account[.]?key|private[.]?key|credential"
    if _REDACTION in given and hidden not in given[_REDACTION]:
        hidden = f"({given[_REDACTION]})|({hidden})"
    return {
        _CATALOG: DELTA_CATALOG,
        # A limit of bytes is looked at after each row, column by column: half the time of a Python function of 30 columns.
        # Without it the batches are bounded by their 10,000 rows alone.
        "spark.sql.execution.arrow.maxBytesPerBatch": str(2**31 - 1),
        **given,
        _EXTENSIONS: ",".join(extensions),
        _REDACTION: hidden,
        "spark.sql.session.timeZone": "UTC",
    }


def _local_conf(config: SessionConfig) -> dict[str, str]:
    # 4 MB stacks: with the C1 compiler alone, stopping a stream overflowed the default in a regular expression.
    options = ["-Xss4m", "-Duser.timezone=UTC", "-Dio.netty.tryReflectionSetAccessible=true"]
    if config.fast_start:
        # With C1 alone Java makes the code cache so small that Spark's generated code fills it and compiling stops.
        options += ["-XX:TieredStopAtLevel=1", "-XX:ReservedCodeCacheSize=256m", "-XX:+UseSerialGC"]
        # A heap that grows in small steps, and classes that fill what is first set aside, make Java collect all the time.
        options += [f"-Xms{config.driver_memory}", "-XX:MetaspaceSize=256m"]
    settings = {
        "spark.master": config.master or "local[*]",
        "spark.driver.memory": config.driver_memory,
        "spark.driver.extraJavaOptions": shlex.join(options),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": str(config.shuffle_partitions),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        # Compressing what is cached builds a dictionary of every column, even of keys: a fifth of the time of a batch of scores.
        "spark.sql.inMemoryColumnarStorage.compressed": "false",
        # A pipeline has more than the 100 generated classes kept by default, and would compile them again and again.
        "spark.sql.codegen.cache.maxEntries": "4000",
        # Delta rebuilds a table's state with 50 tasks by default: seconds on a laptop, for a few files.
        "spark.databricks.delta.snapshotPartitions": "1",
        # Listing folders in parallel, which VACUUM always does, makes 10,000 tasks by default.
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "8",
    }
    if config.fast_start:
        settings |= {
            # Looking up the line of Python behind each column takes four fifths of the time of `F.col`.
            "spark.python.sql.dataFrameDebugging.enabled": "false",
            # It makes each shuffle a job, and plans what is left of the query anew after it.
            "spark.sql.adaptive.enabled": "false",
            "spark.sql.ui.explainMode": "simple",  # each query writes its plan for the UI, off or not
        }
    if _is_local(config):  # executors elsewhere have to reach the driver
        settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    if _LOG_SETTINGS.is_file():  # not when the code runs from a zip
        settings["spark.driver.extraJavaOptions"] += f" -Dlog4j2.configurationFile={_LOG_SETTINGS.as_uri()}"
    if config.jars == "local":
        settings["spark.jars"] = ",".join(str(path) for path in jars.paths(config.jar_sets))
    return settings


def _with_delta(spark: SparkSession) -> SparkSession:
    try:
        extensions = spark.conf.get("spark.sql.extensions", "") or ""
    except PySparkException:
        extensions = DELTA_EXTENSION  # Connect hides static settings; the first write will tell
    if DELTA_EXTENSION not in extensions and not on_databricks():
        raise EnvironmentProblem(
            "DELTA_MISSING",
            "The running Spark session has no Delta Lake.",
            f"spark.sql.extensions={DELTA_EXTENSION}",
            "Start it with the delta-spark jars, or let get_session make the session.",
        )
    return spark


def on_databricks() -> bool:
    """Return whether this process runs in a Databricks runtime, which makes sessions and starts what they need."""
    return "DATABRICKS_RUNTIME_VERSION" in os.environ


def driver_context(spark: SparkSession) -> Any | None:
    """Return the session's Spark context, or None on Spark Connect, which has none."""
    try:
        return spark.sparkContext
    except (PySparkException, AttributeError):
        return None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
