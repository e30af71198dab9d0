"""Settings of scoring in batches and on a stream; loads no Spark, since whoever serves online reads the same config."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from shared.core.config import Settings
from shared.core.references import is_reference, is_secret_like, refused


class BatchConfig(Settings):
    """How all customers are scored.

    Args:
        reasons: reasons a score comes with; for each customer the model then scores a row for each of its features, so 0
            is some twenty times quicker.
        rows_per_part: more new scores than this are made and kept part by part; after a kill the parts that are done are
            not made again.
    """

    reasons: int = Field(3, ge=0)
    rows_per_part: int = Field(1_000_000, ge=1)


class StreamConfig(Settings):
    """Where events come from, and when they are taken.

    Args:
        source: ``folder`` of text files, or ``kafka``, which needs the jar set ``kafka``.
        path: the folder or URI; a file must appear whole, so write it elsewhere and move it there.
        bootstrap_servers: ``host:port,…`` of Kafka.
        topic: the topic; it is read from its beginning, and data that Kafka removed unread stop the stream.
        security_protocol: how Kafka is reached.
        sasl_mechanism: how ``user`` and ``password`` are shown to Kafka.
        user: user name, or a reference such as ``env:KAFKA_USER``.
        password: reference such as ``env:KAFKA_PASSWORD``.
        options: further settings of the Kafka client, ``{"kafka.ssl.truststore.location": …}``; those that hold secrets
            are references.
        trigger: ``available_now`` takes what is there and ends; ``continuous`` waits for more until it is stopped.
        interval_seconds: with ``continuous``, the time between the beginnings of two batches.
        checkpoint: folder or URI that remembers what was taken; by default beside the tables of a warehouse that is a
            folder. Without it everything is taken again.
        files_per_batch: of a folder, files taken together.
        events_per_batch: of Kafka, events taken together.
        max_failed_share: share of the events of a batch and table that may be broken before the stream stops; all of
            them by default, since they are put aside and a batch may be a single one.
        keeps_tables: whether ``ingest`` leaves tables that the stream feeds as they are, which jobs ask for, instead of
            refusing to replace them.
    """

    source: Literal["folder", "kafka"] = "folder"
    path: str = ""
    bootstrap_servers: str = ""
    topic: str = ""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    user: str | None = None
    password: str | None = None
    options: Mapping[str, str] = {}
    trigger: Literal["available_now", "continuous"] = "available_now"
    interval_seconds: float = Field(10.0, gt=0.0)
    checkpoint: str = ""
    files_per_batch: int = Field(1_000, ge=1)
    events_per_batch: int = Field(100_000, ge=1)
    max_failed_share: float = Field(1.0, ge=0.0, le=1.0)
    keeps_tables: bool = False

    @property
    def label(self) -> str:
        """The folder or topic, for messages."""
        return self.path if self.source == "folder" else f"kafka:{self.topic}"

    @field_validator("password", mode="before")
    @classmethod
    def _is_reference(cls, password: object) -> object:
        if password is not None and not (isinstance(password, str) and is_reference(password)):
            raise refused("stream.password")
        return password

    @field_validator("options", mode="before")
    @classmethod
    def _hold_references(cls, options: object) -> object:
        for name, value in options.items() if isinstance(options, Mapping) else ():
            holds_secret = is_secret_like(str(name)) or "jaas" in str(name)
            if holds_secret and not (isinstance(value, str) and is_reference(value)):
                raise refused(f"stream.options {name}")
        return options

    @model_validator(mode="after")
    def _login(self) -> Self:
        if self.security_protocol.startswith("SASL") != bool(self.user and self.password):
            raise ValueError("stream.user and stream.password go with a stream.security_protocol that begins with SASL")
        return self
