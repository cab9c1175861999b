"""Programs that listen on this machine: on which ports, who they are, and what they answer.

Sources: sock_diag(7) and the kernel's linux/inet_diag.h for asking it directly, net/ipv4/tcp_ipv4.c for the tables.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import _socket

    from provision.host.answer import Response

TABLES = ("/proc/self/net/tcp", "/proc/self/net/tcp6")
CONNECT_TIMEOUT_S = 0.2
KERNEL_TIMEOUT_S = 0.5
ANSWER_TIMEOUT_S = 1.0
MAX_ANSWER_BYTES = 1 << 20

_SOCK_DIAG, _BY_FAMILY, _DUMP = 4, 20, 0x301
_IPV4, _TCP, _LISTEN = 2, 6, 10
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI48x")
_ENTRY = struct.Struct(">BBBBHH16s")  # family, state, timer, retransmits, both ports, the local address
_MAPPED_IPV4 = bytes(10) + b"\xff\xff"


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

    Where the kernel tells, nothing is connected to.
    """
    found = _told_by_kernel()
    if found is None:
        tables = [text for text in map(_read, TABLES) if text is not None]
        found = {port for text in tables for port in listed(text)} if tables else set(_connectable(ports))
    open_ports = [port for port in ports if port in found]
    return _described(open_ports) if open_ports else ()


def _told_by_kernel() -> set[int] | None:
    """Ask the kernel for listening sockets only; ``None`` where it cannot be asked, as in some containers.

    Its tables in /proc hold every connection: writing them takes the kernel tens of milliseconds.
    """
    if sys.platform != "linux":
        return None
    import _socket  # the part in C of socket: importing all of it takes longer than everything that is asked here

    try:
        with closing(_socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, _SOCK_DIAG)) as kernel:
            kernel.settimeout(KERNEL_TIMEOUT_S)
            return {port for family in (_socket.AF_INET, _socket.AF_INET6) for port in _ask_kernel(kernel, family)}
    except (OSError, struct.error):
        return None


def _ask_kernel(kernel: _socket.socket, family: int) -> Iterator[int]:
    request = _REQUEST.pack(family, _TCP, 0, 0, 1 << _LISTEN)
    kernel.send(_HEADER.pack(_HEADER.size + len(request), _BY_FAMILY, _DUMP, 1, 0) + request)
    is_done = False
    while not is_done:
        data = kernel.recv(1 << 16)
        while len(data) >= _HEADER.size and not is_done:
            size, kind, *_ = _HEADER.unpack_from(data)
            if kind == _ERROR:
                raise OSError("the kernel does not tell who listens")
            is_done = kind == _DONE or size < _HEADER.size
            if not is_done:
                yield from entry(data[_HEADER.size : size])
            data = data[(size + 3) & ~3 :]


def entry(data: bytes) -> Iterator[int]:
    """Yield the port of a listening socket as the kernel describes it, if loopback reaches it."""
    family, _, _, _, port, _, address = _ENTRY.unpack_from(data)
    if _by_loopback(address[:4] if family == _IPV4 else address):
        yield port


def listed(table: str) -> Iterator[int]:
    """Yield the ports in /proc/net/tcp or tcp6 that somebody listens on and that loopback reaches.

    Column 1 is the local address and port in hexadecimal, column 3 the state. Lines that make no sense are left out.
    """
    for line in table.split("\n")[1:]:
        fields = line.split(None, 4)
        if len(fields) > 3 and fields[3] == f"{_LISTEN:02X}":
            address, _, port = fields[1].partition(":")
            with suppress(ValueError):
                if _by_loopback(_address(address)):
                    yield int(port, 16)


def _address(digits: str) -> bytes:
    """Return the bytes of an address of which the kernel wrote each 32 bits as one number of this machine."""
    words = [bytes.fromhex(digits[start : start + 8]) for start in range(0, len(digits), 8)]
    return b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)


def _by_loopback(address: bytes) -> bool:
    """Tell whether a socket at this address is reached through loopback: its own addresses, and those that mean all."""
    ipv4 = address.removeprefix(_MAPPED_IPV4)
    if len(ipv4) == 4:
        return ipv4[0] == 127 or not any(ipv4)
    return len(address) == 16 and not any(address[:15]) and address[15] in (0, 1)


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
