"""POST of an alert to an address from the settings, which must not lead into the own network.

The name is resolved once, every address it has is checked, and the connection goes to a checked address: a name that
answers differently the second time gains nothing. A redirect is checked like the first address.
"""

import json
import socket
import ssl
from collections.abc import Collection, Mapping
from http.client import HTTPConnection, HTTPException
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from shared.core.errors import ConfigError, EnvironmentProblem

_TIMEOUT_SECONDS = 10
_REDIRECTS = 3
_KEEPS_POST = (307, 308)  # after any other redirect a client may send a GET without content
_NAT64 = ip_network("64:ff9b::/96")
# Retired or of one network only, though Python counts them as global: IPv4-compatible, local NAT64 (RFC 8215), site-local.
_NOT_GLOBAL = tuple(ip_network(each) for each in ("::/96", "64:ff9b:1::/48", "fec0::/10"))


def post(url: str, content: Mapping[str, Any], allowed_hosts: Collection[str] = ()) -> None:
    """Send ``content`` as JSON; any answer from 200 to 299 is success.

    Args:
        url: ``http`` or ``https``; its path is never repeated in a message, it may hold a token.
        content: the message.
        allowed_hosts: hosts, as they stand in a URL, that may have private addresses.

    Raises:
        ConfigError: the URL is none, or leads to an address that is not public.
        EnvironmentProblem: nobody answers, or not with success.
    """
    body = json.dumps(dict(content), default=str).encode()
    for _ in range(_REDIRECTS + 1):
        parts = _checked(url)
        status, location = _send(parts, _address(parts, allowed_hosts), body)
        if 200 <= status < 300:
            return
        if status not in _KEEPS_POST or not location:
            raise _undelivered(parts, f"answered {status}")
        url = urljoin(url, location)
    raise _undelivered(parts, f"redirects more than {_REDIRECTS} times")


def is_public(address: str) -> bool:
    """Tell whether an address is one of the internet, also where an IPv4 address is wrapped in an IPv6 one.

    >>> [is_public(each) for each in ("8.8.8.8", "10.0.0.1", "127.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1")]
    [True, False, False, False, False, False]
    >>> [is_public(each) for each in ("2606:4700::1111", "64:ff9b::8.8.8.8", "::10.0.0.1", "64:ff9b:1::a00:1", "fec0::1")]
    [True, True, False, False, False]
    """
    found: IPv4Address | IPv6Address | None = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        if any(found in network for network in _NOT_GLOBAL):
            return False
        inner = (
            found.ipv4_mapped or found.sixtofour or (IPv4Address(int(found) & 0xFFFFFFFF) if found in _NAT64 else None)
        )
        found = inner or found
    return found is not None and found.is_global and not found.is_multicast


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_fine = False
    if not is_fine or parts.username or parts.password:
        raise ConfigError(
            "WEBHOOK_INVALID",
            "The webhook is no address that can be posted to.",
            "http or https, a host, and no login.",
            "Check monitoring.sinks.webhook.",
        )
    return parts


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _address(parts: SplitResult, allowed_hosts: Collection[str]) -> str:
    host = str(parts.hostname)
    try:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, _port(parts), type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        raise _undelivered(parts, "has no address") from error
    private = [address for address in found if not is_public(address)]
    if private and host not in {name.lower() for name in allowed_hosts}:
        raise ConfigError(
            "WEBHOOK_PRIVATE",
            f"The webhook's host {host} has the address {private[0]}, which is not public.",
            "A public address, or a host in monitoring.sinks.webhook_hosts.",
            "Allow the host if it is meant.",
        )
    return found[0]


class _Connection(HTTPConnection):
    """A connection to one address under the name of another."""

    def __init__(self, parts: SplitResult, address: str) -> None:
        super().__init__(str(parts.hostname), _port(parts), timeout=_TIMEOUT_SECONDS)
        self._address, self._is_secure = address, parts.scheme == "https"

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._is_secure:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


def _send(parts: SplitResult, address: str, body: bytes) -> tuple[int, str | None]:
    connection = _Connection(parts, address)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", target, body, {"Content-Type": "application/json", "Host": parts.netloc})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Location")
    except (OSError, HTTPException, ValueError) as error:
        raise _undelivered(parts, f"cannot be reached: {type(error).__name__}") from error
    finally:
        connection.close()


def _undelivered(parts: SplitResult, what: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        "ALERT_NOT_DELIVERED",
        f"The webhook at {parts.hostname} {what}.",
        "An answer from 200 to 299.",
        "Mend the receiver and run monitor again: what was not delivered is sent then.",
    )
