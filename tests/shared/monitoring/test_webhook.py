"""An alert reaches a real server where that is allowed, and no private address where it is not."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from shared.core.errors import ConfigError, EnvironmentProblem
from shared.monitoring import webhook

Answer = tuple[int, dict[str, str]]


class Server:
    """A server on this machine that notes what it gets and answers as told."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.answers: dict[str, Answer] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append({"path": self.path, "host": self.headers["Host"], **json.loads(body)})
                status, headers = outer.answers.get(self.path, (204, {}))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.http.server_port}{path}"

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"])
def test_this_machine_is_refused_under_every_name(server: Server, host: str) -> None:
    with pytest.raises(ConfigError, match="WEBHOOK_PRIVATE"):
        webhook.post(server.url(host=host), {"a": 1})
    assert server.got == []


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "[fd00::1]", "[fe80::1]", "0.0.0.0"]
)
def test_private_addresses_are_refused_before_anything_is_sent(address: str) -> None:
    with pytest.raises(ConfigError, match="WEBHOOK_PRIVATE"):
        webhook.post(f"https://{address}/hook", {})


@pytest.mark.parametrize(
    "address",
    ["fec0::1", "::127.0.0.1", "::10.0.0.1", "64:ff9b:1::a00:1", "64:ff9b::a00:1", "2002:a00:1::", "::1", "::"],
)
def test_what_leads_into_the_own_network_by_way_of_ipv6_is_not_public(address: str) -> None:
    assert not webhook.is_public(address)


def test_an_allowed_host_gets_the_message(server: Server) -> None:
    webhook.post(server.url("/hook?token=t", host="localhost"), {"subject": "minutes_30"}, ["localhost"])

    assert server.got == [
        {"path": "/hook?token=t", "host": f"localhost:{server.http.server_port}", "subject": "minutes_30"}
    ]


def test_a_redirect_is_followed_with_the_message_and_checked_like_the_first_address(server: Server) -> None:
    server.answers = {"/a": (307, {"Location": "/b"}), "/c": (308, {"Location": server.url("/d", host="127.0.0.1")})}

    webhook.post(server.url("/a", host="localhost"), {"n": 1}, ["localhost"])
    assert [(each["path"], each["n"]) for each in server.got] == [("/a", 1), ("/b", 1)]

    with pytest.raises(ConfigError, match="WEBHOOK_PRIVATE"):
        webhook.post(server.url("/c", host="localhost"), {"n": 2}, ["localhost"])
    assert [each["path"] for each in server.got] == ["/a", "/b", "/c"]


@pytest.mark.parametrize("answer", [(500, {}), (302, {"Location": "/"}), (307, {}), (307, {"Location": "/loop"})])
def test_what_is_not_success_is_said(server: Server, answer: Answer) -> None:
    server.answers["/loop"] = answer

    with pytest.raises(EnvironmentProblem, match="ALERT_NOT_DELIVERED"):
        webhook.post(server.url("/loop"), {}, ["127.0.0.1"])


@pytest.mark.parametrize(
    "url", ["ftp://example.org/", "http://", "//example.org", "http://user:pw@example.org/", "http://x:99999/"]
)
def test_what_is_no_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError, match="WEBHOOK_INVALID") as refused:
        webhook.post(url, {})
    assert "pw" not in str(refused.value)


def test_a_name_that_changes_its_mind_is_not_asked_twice(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer of the name service is public, the second would be this machine."""
    answers = iter([[(2, 1, 6, "", ("203.0.113.7", 80))], [(2, 1, 6, "", ("127.0.0.1", 80))]])
    connected: list[str] = []

    def refuse(address: tuple[str, int], *_: object) -> None:
        connected.append(address[0])
        raise OSError("unreachable")

    resolve: Callable[..., Any] = lambda *_, **__: next(answers)  # noqa: E731
    monkeypatch.setattr(webhook.socket, "getaddrinfo", resolve)
    monkeypatch.setattr(webhook, "is_public", lambda address: address != "127.0.0.1")
    monkeypatch.setattr(webhook.socket, "create_connection", refuse)

    with pytest.raises(EnvironmentProblem, match="ALERT_NOT_DELIVERED"):
        webhook.post(server.url(host="rebinding.example"), {})
    assert connected == ["203.0.113.7"]
