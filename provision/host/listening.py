"""Programs that listen on this machine: on which ports, who they are, and what they answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from provision.domain.frozen import frozen
from provision.host.socket_table import tcp_listeners

if TYPE_CHECKING:
    from provision.host.answer import Response

CONNECT_TIMEOUT_S = 0.2
ANSWER_TIMEOUT_S = 1.0
MAX_ANSWER_BYTES = 1 << 20

_MAPPED_IPV4 = bytes(10) + b"\xff\xff"


@frozen
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

    Where the kernel tells, nothing is connected to.
    """
    told = tcp_listeners()
    found = _connectable(ports) if told is None else (each.port for each in told if by_loopback(each.address))
    there = set(found)
    open_ports = [port for port in ports if port in there]
    return _described(open_ports) if open_ports else ()


def by_loopback(address: bytes) -> bool:
    """Tell whether a socket at this address is reached through loopback: its own addresses, and those that mean all."""
    ipv4 = address.removeprefix(_MAPPED_IPV4)
    if len(ipv4) == 4:
        return ipv4[0] == 127 or not any(ipv4)
    return len(address) == 16 and not any(address[:15]) and address[15] in (0, 1)


def _connectable(ports: Sequence[int]) -> Iterator[int]:
    """Yield the ports that take a connection, where the kernel does not list its sockets: macOS."""
    import socket

    for port in ports:
        for host in ("127.0.0.1", "::1"):
            with suppress(OSError), socket.create_connection((host, port), CONNECT_TIMEOUT_S):
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
