"""A real Kafka on a free port of this machine, for the tests that read from a topic: one process, broker and controller."""

import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from shared.core import jars
from tests.postgres import free_port


@dataclass(frozen=True)
class Broker:
    """Where it listens."""

    address: str

    def create(self, topic: str, partitions: int = 2) -> None:
        """Make a topic."""
        admin = AdminClient({"bootstrap.servers": self.address})
        admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(30)

    def send(self, topic: str, events: Sequence[bytes | None], key: bytes | None = None) -> None:
        """Append events to a topic: to the partition of ``key``, or to any."""
        producer = Producer({"bootstrap.servers": self.address})
        for event in events:
            producer.produce(topic, event, key=key)
        assert producer.flush(30) == 0


@contextmanager
def running() -> Iterator[Broker]:
    """Start a broker with an empty log, and stop it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="kafka-"))
    address, controller = (f"127.0.0.1:{free_port()}" for _ in range(2))
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.bootstrap.servers": controller,
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{address},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{address},CONTROLLER://{controller}",
        "log.dirs": str(folder / "data"),
        "offsets.topic.num.partitions": "1",
        "offsets.topic.replication.factor": "1",
    }
    properties = folder / "server.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    java = [jars.java(), "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    java += ["-cp", ":".join(map(str, jars.paths(["kafka-broker"])))]
    log = (folder / "log").open("w")

    def begin(*arguments: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([*java, *arguments], stdout=log, stderr=log, cwd=folder)

    storage = ("format", "--standalone", "--cluster-id", uuid.uuid4().hex[:22], "--config", str(properties))
    assert begin("kafka.tools.StorageTool", *storage).wait(120) == 0, (folder / "log").read_text()
    server = begin("kafka.Kafka", str(properties))
    try:
        _wait_for(address, server, folder / "log")
        yield Broker(address)
    finally:
        server.terminate()
        server.wait(60)
        log.close()
        shutil.rmtree(folder)


def _wait_for(address: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    client = AdminClient({"bootstrap.servers": address, "log_level": 0})
    deadline = time.monotonic() + 120
    while True:
        try:
            client.list_topics(timeout=2)
        except KafkaException:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
        else:
            return
