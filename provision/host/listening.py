"""Programs that listen on this machine: on which ports, who they are, and what they answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provision.host.answer import Response

TABLES = ("/proc/self/net/tcp", "/proc/self/net/tcp6")
CONNECT_TIMEOUT_S = 0.2
ANSWER_TIMEOUT_S = 1.0
MAX_ANSWER_BYTES = 1 << 20

_LISTEN_STATE = "0A"
_LOOPBACK_IPV4 = "7F"  # 127.0.0.0/8: the last byte of a little-endian address is its first part
_MAPPED_IPV4 = "0000000000000000FFFF0000"
_LOOPBACK_IPV6 = ("0" * 24 + "01000000", "0" * 31 + "1")  # as little-endian and big-endian machines write it


@dataclass(frozen=True)
class Listener:
    """A program that listens on a port of this machine's own network.

    ``owner`` is like ``ollama (process 812)``, ``None`` where it cannot be seen. ``ours`` says that a fabric, of this
    prefix or another, started it.
    """

    port: int
    owner: str | None = None
    ours: bool = False


def listeners(ports: Sequence[int]) -> tuple[Listener, ...]:
    """Return who listens on which of ``ports``, in their order; addresses that loopback does not reach do not count.

    Where the kernel lists its sockets, nothing is connected to.
    """
    tables = [text for text in map(_read, TABLES) if text is not None]
    found = {port for text in tables for port in listed(text)} if tables else set(_connectable(ports))
    open_ports = [port for port in ports if port in found]
    return _described(open_ports) if open_ports else ()


def listed(table: str) -> Iterator[int]:
    """Yield the ports in /proc/net/tcp or tcp6 that somebody listens on and that loopback reaches.

    Column 1 is the local address and port in hexadecimal, column 3 the state. Lines that make no sense are left out.
    """
    for line in table.split("\n")[1:]:
        fields = line.split(None, 4)
        if len(fields) > 3 and fields[3] == _LISTEN_STATE:
            address, _, port = fields[1].partition(":")
            if _by_loopback(address.upper()):
                with suppress(ValueError):
                    yield int(port, 16)


def _by_loopback(address: str) -> bool:
    if not address.strip("0") or address in _LOOPBACK_IPV6:
        return True
    ipv4 = address.removeprefix(_MAPPED_IPV4)
    return len(ipv4) == 8 and (not ipv4.strip("0") or _LOOPBACK_IPV4 in (ipv4[:2], ipv4[-2:]))


def _read(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return file.read().decode("ascii", "replace")
    except OSError:
        return None


def _connectable(ports: Sequence[int]) -> Iterator[int]:
    """Yield the ports that take a connection, where the kernel does not list its sockets: macOS."""
    import socket

    for port in ports:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), CONNECT_TIMEOUT_S):
            yield port


def _described(ports: Sequence[int]) -> tuple[Listener, ...]:
    import psutil

    from provision.domain.server import INSTANCE_VARIABLE

    try:
        connections = psutil.net_connections("tcp")
    except psutil.Error:
        connections = []
    listening = [each for each in connections if each.status == psutil.CONN_LISTEN and each.pid]
    pids = {each.laddr.port: each.pid for each in listening if each.laddr}
    described = []
    for port in ports:
        owner, ours = None, False
        with suppress(psutil.Error, KeyError):
            process = psutil.Process(pids[port])
            owner = f"{process.name()} (process {process.pid})"
            ours = INSTANCE_VARIABLE in process.environ()
        described.append(Listener(port, owner, ours))
    return tuple(described)


def ask(port: int, path: str) -> Response:
    """GET ``path`` from the program that listens on a port of this machine, by IPv4, else by IPv6; never raises."""
    from provision.host.endpoint import EndpointClient

    def answer_of(host: str) -> Response:
        client = EndpointClient(f"http://{host}:{port}", env={})
        return client.get(path, ANSWER_TIMEOUT_S, max_bytes=MAX_ANSWER_BYTES)

    answer = answer_of("127.0.0.1")
    return answer_of("[::1]") if "refused" in (answer.error or "").lower() else answer
