"""The process around the service: one socket, one worker, a graceful end on SIGTERM.

More requests than one core answers are a matter of more processes behind a balancer; each follows the registry by itself.
"""

import ipaddress
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import uvicorn

from shared.core.errors import ConfigError, EnvironmentProblem
from shared.core.secrets import resolve
from shared.deploy.online.app import build
from shared.deploy.online.service import Service
from shared.deploy.online.settings import ServingConfig


def keys_of(config: ServingConfig) -> list[str]:
    """Return the keys that are let in; none only where everybody is let in on purpose, and on this machine alone.

    Raises:
        ConfigError: KEYS_MISSING.
        EnvironmentProblem: a reference leads nowhere.
    """
    if config.keys:
        return [resolve(key).reveal() for key in config.keys]
    if not config.insecure_local or not _is_loopback(config.host):
        raise ConfigError(
            "KEYS_MISSING",
            f"No key in serving.keys, and the service would listen on {config.host}.",
            "A reference such as env:SCORING_KEY, or serving.insecure_local=true on 127.0.0.1.",
            "Set serving.keys.",
        )
    return []


def run(service: Service, keys: Sequence[str], listening: Callable[[str], None]) -> None:
    """Serve until the process is told to stop; requests under way are answered first.

    Args:
        service: answers.
        keys: from `keys_of`.
        listening: called with the address once requests are accepted.

    Raises:
        EnvironmentProblem: the address is taken or not this machine's.
    """
    config = service.config
    server = uvicorn.Server(
        uvicorn.Config(
            build(service, keys),
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=config.max_connections + 1,  # which it counts the refused one into
            timeout_graceful_shutdown=config.drain_seconds,
        )
    )
    with _ended_by_signal(server), _bound(config.host, config.port) as bound:
        host, port = bound.getsockname()[:2]
        listening(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        server.run(sockets=[bound])


@contextmanager
def _ended_by_signal(server: uvicorn.Server) -> Iterator[None]:
    """Make SIGTERM and SIGINT the regular end, also before uvicorn listens to them.

    It sends them to the process again once it has stopped.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Named as TCP, or asyncio leaves Nagle's algorithm on, and every answer waits 40 ms.
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(socket.SOMAXCONN)
    except OSError as error:
        raise EnvironmentProblem(
            "ADDRESS_TAKEN", f"Cannot listen on {host}:{port}: {error.strerror}.", "", "Set serving.host, serving.port."
        ) from error
    return bound


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
