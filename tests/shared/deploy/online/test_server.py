"""The process around the service: who is let in, on which address, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from shared.core.errors import ConfigError, EnvironmentProblem
from shared.deploy.online import server
from shared.deploy.online.settings import ServingConfig

PROGRAM = """
import sys, time
from shared.deploy.online import server
from shared.deploy.online.bundle import OnlineModel
from shared.deploy.online.metrics import OnlineMetrics
from shared.deploy.online.service import Served, Service, Version
from shared.deploy.online.settings import ServingConfig
from tests.shared.deploy.online.conftest import CONTRACT, graph

class Slow(OnlineModel):
    def explained(self, rows, count):
        time.sleep(2 if len(rows) > 4 else 0)
        return super().explained(rows, count)

class One:
    def newest(self): return Version(1, "run")
    def load(self, version): return Served("example", version, Slow(CONTRACT, graph()), 0.5)

config = ServingConfig(port=0, insecure_local=True)
server.run(Service(One(), config, OnlineMetrics("example")), [], lambda address: print(address, flush=True))
print("ended, pyspark" if "pyspark" in sys.modules else "ended", flush=True)
"""
ROW = {"x": 1.0, "visits": 3, "is_new": True, "plan": "a"}


def test_a_service_told_to_stop_answers_what_is_under_way_and_has_no_spark() -> None:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        address = process.stdout.readline().strip()
        answers: list[int] = []

        def ask() -> None:
            rows = [{"features": ROW}] * 5
            answers.append(httpx.post(f"{address}/score/bulk", json={"rows": rows}, timeout=30).status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        deadline = time.monotonic() + 60
        while httpx.get(f"{address}/live", timeout=30).status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)  # the request is being answered, for two seconds
        os.kill(process.pid, signal.SIGTERM)
        asking.join(timeout=60)
        rest, _ = process.communicate(timeout=60)
        assert answers == [200]
        assert (rest.strip(), process.returncode) == ("ended", 0)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address}/live")
    finally:
        if process.poll() is None:
            process.kill()


def test_a_service_told_to_stop_while_it_starts_does_not_go_on() -> None:
    program = PROGRAM.replace(
        "lambda address: print(address, flush=True)", "lambda _: os.kill(os.getpid(), signal.SIGTERM)"
    )

    done = subprocess.run(
        [sys.executable, "-c", f"import os, signal\n{program}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == ("ended", 0), done.stderr


@contextmanager
def served(program: str) -> Iterator[tuple[str, int]]:
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        host, port = process.stdout.readline().strip().removeprefix("http://").split(":")
        yield host, int(port)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_more_connections_than_are_allowed_and_bodies_that_never_end_hold_nobody_up() -> None:
    limits = "port=0, max_connections=2, body_seconds=1, insecure_local=True"
    with served(PROGRAM.replace("port=0, insecure_local=True", limits)) as address, ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(address, timeout=60)) for _ in range(2)]
        for each in slow:
            each.sendall(b"POST /score HTTP/1.1\r\nHost: service\r\nContent-Length: 100\r\n\r\n{")
        refused = httpx.get(f"http://{address[0]}:{address[1]}/live", timeout=30).status_code

        answers = [each.makefile("rb").read() for each in slow]  # to its end: the connection is closed
        assert [answer.split()[1] for answer in answers] == [b"408", b"408"]
        assert refused == 503
        assert httpx.get(f"http://{address[0]}:{address[1]}/live", timeout=30).status_code == 200


def test_everybody_is_let_in_only_on_purpose_and_only_from_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORING_KEY", "first")

    assert server.keys_of(ServingConfig(keys=("env:SCORING_KEY",), host="0.0.0.0")) == ["first"]
    assert server.keys_of(ServingConfig(insecure_local=True)) == []
    for config in (ServingConfig(), ServingConfig(insecure_local=True, host="0.0.0.0")):
        with pytest.raises(ConfigError) as refusal:
            server.keys_of(config)
        assert refusal.value.code == "KEYS_MISSING"
    with pytest.raises(EnvironmentProblem):
        server.keys_of(ServingConfig(keys=("env:NO_SUCH_KEY",)))


def test_a_key_in_clear_is_refused() -> None:
    with pytest.raises(ConfigError) as refusal:
        ServingConfig(keys=("hunter2",))
    assert refusal.value.code == "SECRET_NOT_A_REFERENCE"
    assert "hunter2" not in str(refusal.value)


def test_an_address_that_is_not_ours_is_one_sentence() -> None:
    with pytest.raises(EnvironmentProblem) as refusal:
        server._bound("203.0.113.1", 8000)
    assert refusal.value.code == "ADDRESS_TAKEN"
