"""A stream of events from a folder or from Kafka, taken in batches each of which may be tried again after a kill.

What a batch decides (a day, a model's version, the versions of tables) is recorded before it is used, so that a repeat
decides the same. A new checkpoint is a new stream: it has another id, and reads everything again.
"""

import json
import re
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from pyspark.errors import AnalysisException, StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamReader

from shared.core import clock, log
from shared.core.columns import SOURCE_FILE
from shared.core.errors import AcceleratorError, ConfigError, DataError, EnvironmentProblem
from shared.core.references import is_reference
from shared.core.secrets import resolve
from shared.core.session import driver_context
from shared.delta.read import read
from shared.delta.tables import TableRef, Warehouse, exists
from shared.delta.write import append_once
from shared.deploy.settings import StreamConfig
from shared.ingest.landing import Batch
from shared.ingest.problems import explained
from shared.ingest.stream import EVER, query_id
from shared.ingest.text_lines import LINE

_LOG = log.get_logger("stream")
_DECISIONS: Final = "app_id string, batch_id long, decision string, decided_ts timestamp"
_POLL_SECONDS = 1


def events(spark: SparkSession, config: StreamConfig) -> DataFrame:
    """Return the stream of events as `_line` and `_source_file`, which of Kafka is ``kafka:topic/partition/offset``.

    Raises:
        ConfigError: folder or topic is not set, or there is no such folder.
        EnvironmentProblem: the session has not the jars for Kafka, or is remote.
    """
    if driver_context(spark) is None:
        raise EnvironmentProblem(
            "STREAM_NOT_ON_CONNECT",
            "This session is a remote one (Spark Connect), which runs the batches of a stream in another process.",
            "A session in the process of the command.",
            "Run score-stream with spark-submit or python on the cluster; score-batch runs over Connect.",
        )
    needed = {"folder": ("path",), "kafka": ("bootstrap_servers", "topic")}[config.source]
    missing = [f"stream.{name}" for name in needed if not getattr(config, name)]
    if missing:
        found = f"A stream from {config.source} has no {' and no '.join(missing)}."
        raise ConfigError("STREAM_INVALID", found, "", f"Set {' and '.join(missing)}.")
    return _of_folder(spark, config) if config.source == "folder" else _of_kafka(spark, config)


def _of_folder(spark: SparkSession, config: StreamConfig) -> DataFrame:
    reader = spark.readStream.format("text").option("recursiveFileLookup", "true").option("maxFileAge", EVER)
    reader = reader.option("maxFilesPerTrigger", config.files_per_batch).option("ignoreMissingFiles", "true")
    with explained(config.path):
        lines = reader.load(config.path)
    return lines.select(F.col("value").alias(LINE), F.col("_metadata.file_path").alias(SOURCE_FILE))


def _of_kafka(spark: SparkSession, config: StreamConfig) -> DataFrame:
    reader = spark.readStream.format("kafka").option("subscribe", config.topic).options(**_client(config))
    reader = reader.option("startingOffsets", "earliest").option("maxOffsetsPerTrigger", config.events_per_batch)
    place = F.format_string("kafka:%s/%d/%020d", "topic", "partition", "offset")  # offsets in order as text too
    return _with_kafka(reader).select(F.col("value").cast("string").alias(LINE), place.alias(SOURCE_FILE))


def _with_kafka(reader: DataStreamReader) -> DataFrame:
    try:
        return reader.load()
    except AnalysisException as error:
        if "kafka" not in str(error).lower():
            raise
        raise EnvironmentProblem(
            "KAFKA_MISSING",
            "The session has no Kafka source.",
            "The jars of spark-sql-kafka.",
            "Set session.jar_sets=[delta, kafka]; on a cluster, add the package that fits its Spark.",
        ) from error


def _client(config: StreamConfig) -> dict[str, str]:
    options = {
        name: resolve(value).reveal() if is_reference(value) else value for name, value in config.options.items()
    }
    options["kafka.bootstrap.servers"] = config.bootstrap_servers
    options["kafka.security.protocol"] = config.security_protocol
    if config.user and config.password:
        module = "plain.Plain" if config.sasl_mechanism == "PLAIN" else "scram.Scram"
        user = resolve(config.user).reveal() if is_reference(config.user) else config.user
        login = f'username="{_in_quotes(user)}" password="{_in_quotes(resolve(config.password).reveal())}"'
        options["kafka.sasl.mechanism"] = config.sasl_mechanism
        options["kafka.sasl.jaas.config"] = f"org.apache.kafka.common.security.{module}LoginModule required {login};"
    return options


def _in_quotes(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _of_kafka_client(text: str, config: StreamConfig) -> AcceleratorError | None:
    """Return what a failure of the Kafka client means for the reader; None for other failures."""
    where = f"topic {config.topic} at {config.bootstrap_servers}"
    if config.source != "kafka":
        return None
    if re.search(r"(Sasl|Ssl)?AuthenticationException|AuthorizationException", text):
        return ConfigError(
            "LOGIN_REFUSED", f"Kafka refused the login for {where}.", "", "Check stream.user and its rights."
        )
    if "UnknownTopicOrPartition" in text:
        return ConfigError("TOPIC_MISSING", f"There is no {where}.", "", "Check stream.topic, or create it.")
    if "KAFKA_DATA_LOSS" in text or "OffsetOutOfRange" in text:
        found = f"Kafka has removed events of {where} that were not read yet."
        return DataError("EVENTS_LOST", found, "", "Bring them by a folder, and go on with a new stream.checkpoint.")
    if re.search(r"kafka\S*TimeoutException|No resolvable bootstrap|Timed out waiting for a node", text):
        return EnvironmentProblem("KAFKA_DOWN", f"No Kafka answers for {where}.", "", "Start it, or check the address.")
    return None


def checkpoint_of(config: StreamConfig, warehouse: Warehouse, name: str) -> str:
    """Return the folder of the checkpoint: the one that is set, else one named ``name`` beside the tables.

    Raises:
        ConfigError: none is set and the warehouse is a catalog.
    """
    if config.checkpoint:
        return config.checkpoint
    beside = warehouse.table(name).path
    if beside is None:
        raise ConfigError(
            "STREAM_INVALID", "A stream into a catalog has no checkpoint.", "A folder or URI.", "Set stream.checkpoint."
        )
    return beside


def run(
    lines: DataFrame,
    take: Callable[[DataFrame, Batch], Mapping[str, int]],
    config: StreamConfig,
    *,
    checkpoint: str,
) -> dict[str, int]:
    """Take batches until there is none left, or until the process is told to stop, and return the sums of their facts.

    SIGTERM and SIGINT let the batch that runs come to its end. Each batch is logged: number, facts, seconds.

    Args:
        lines: from `events`.
        take: takes a batch, and returns counts; called again with the same rows and number after a failure.
        config: when batches are taken.
        checkpoint: folder that remembers what was taken.

    Raises:
        AcceleratorError: the one that ``take`` raised; the batch is tried again by the next run.
    """
    spark = lines.sparkSession
    batches = _Batches(spark, take)
    trigger: dict[str, Any] = {"availableNow": True}
    if config.trigger == "continuous":
        trigger = {"processingTime": f"{config.interval_seconds} seconds"}
    writer = lines.writeStream.foreachBatch(batches.take).queryName(batches.name)
    with explained(config.label), _told_to_stop(batches.is_stopping):
        query = writer.option("checkpointLocation", checkpoint).trigger(**trigger).start()
        try:
            _await(query, batches.is_stopping)
        except StreamingQueryException as error:
            problem = batches.problem or _of_kafka_client(f"{error} {getattr(error, '_stackTrace', '')}", config)
            if problem is not None:
                raise problem from None
            if not batches.has_stopped:
                raise
        finally:
            query.stop()
    return {"batches": batches.count, **batches.sums}


def _await(query: StreamingQuery, is_stopping: threading.Event) -> None:
    while not query.awaitTermination(_POLL_SECONDS):
        if is_stopping.is_set() and not query.status["isTriggerActive"]:
            query.stop()


@contextmanager
def _told_to_stop(is_stopping: threading.Event) -> Iterator[None]:
    """Set the event on SIGTERM and SIGINT while the block runs; only the main thread can be told."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: is_stopping.set()) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


class _StoppedError(Exception):
    """Ends the query between two batches; the one that was about to begin is the first of the next run."""


class _Batches:
    """Takes the batches of one query; holds counts and the error, never rows."""

    def __init__(self, spark: SparkSession, take: Callable[[DataFrame, Batch], Mapping[str, int]]) -> None:
        self.spark, self._take = spark, take
        self.name = f"stream_{uuid.uuid4().hex}"
        self.is_stopping, self.has_stopped = threading.Event(), False
        self.problem: AcceleratorError | None = None
        self.count, self.sums = 0, dict[str, int]()

    def take(self, lines: DataFrame, number: int) -> None:
        if self.is_stopping.is_set():
            self.has_stopped = True
            raise _StoppedError
        started = time.perf_counter()
        batch = Batch(query_id(self.spark, self.name), number, may_be_repeat=self.count == 0)
        try:
            facts = self._take(lines, batch)
        except AcceleratorError as problem:
            self.problem = problem
            raise
        self.count += 1
        self.sums = {name: self.sums.get(name, 0) + value for name, value in facts.items()}
        seconds = round(time.perf_counter() - started, 2)
        _LOG.info("batch done", extra={"batch_id": number, "seconds": seconds, **facts})


def decided_once(
    spark: SparkSession, ref: TableRef, batch: Batch, decide: Callable[[], Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what the batch decided when it was first tried; ``decide`` is asked, and its answer recorded, then only.

    Args:
        spark: the session.
        ref: table of decisions; made when absent.
        batch: which batch it is.
        decide: returns plain values.

    Returns:
        The decision, as JSON gives it back.
    """
    if batch.may_be_repeat and exists(spark, ref):
        is_it = (F.col("app_id") == batch.app_id) & (F.col("batch_id") == batch.number)
        before = read(spark, ref).where(is_it).first()
        if before is not None:
            decision: dict[str, Any] = json.loads(before["decision"])
            return decision
    text = json.dumps({**decide(), "decided_ts": clock.utc_now().isoformat()}, sort_keys=True, default=str)
    row = [(batch.app_id, batch.number, text, clock.utc_now())]
    append_once(spark.createDataFrame(row, _DECISIONS), ref, app_id=batch.app_id, version=batch.number, digest=text)
    recorded: dict[str, Any] = json.loads(text)
    return recorded
