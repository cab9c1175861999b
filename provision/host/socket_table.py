"""The TCP sockets that listen on this machine, as the kernel tells them.

Sources: sock_diag(7) and the kernel's linux/inet_diag.h for asking it directly, net/ipv4/tcp_ipv4.c for the tables.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import _socket

TABLES = ("/proc/self/net/tcp", "/proc/self/net/tcp6")
KERNEL_TIMEOUT_S = 0.5

_SOCK_DIAG, _BY_FAMILY, _DUMP = 4, 20, 0x301
_IPV4, _TCP, _LISTEN = 2, 6, 10
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI48x")
_ENTRY = struct.Struct(">BBBBHH16s")  # family, state, timer, retransmits, both ports, the local address
_INODE = struct.Struct("=68xI")


class TcpSocket(NamedTuple):
    """``address`` has 4 bytes or 16. ``inode`` is what a process's handle of it names: ``socket:[INODE]``."""

    address: bytes
    port: int
    inode: int


def tcp_listeners() -> list[TcpSocket] | None:
    """Return every socket that listens; ``None`` where the kernel does not tell: not on Linux.

    Its tables in /proc hold every connection, and writing them takes it milliseconds: they are read only where it
    cannot be asked for listening sockets alone, as in some containers.
    """
    if sys.platform != "linux":
        return None
    found = told_by_kernel()
    if found is None:
        tables = [text for text in map(_read, TABLES) if text is not None]
        found = [each for text in tables for each in listed(text)] if tables else None
    return found


def told_by_kernel() -> list[TcpSocket] | None:
    """Ask the kernel for listening sockets only; ``None`` where it cannot be asked."""
    import _socket  # the part in C of socket: importing all of it takes longer than everything that is asked here

    try:
        with closing(_socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, _SOCK_DIAG)) as kernel:
            kernel.settimeout(KERNEL_TIMEOUT_S)
            return [each for family in (_socket.AF_INET, _socket.AF_INET6) for each in _ask_kernel(kernel, family)]
    except (OSError, struct.error):
        return None


def _ask_kernel(kernel: _socket.socket, family: int) -> Iterator[TcpSocket]:
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
                yield entry(data[_HEADER.size : size])
            data = data[(size + 3) & ~3 :]


def entry(data: bytes) -> TcpSocket:
    """Return a listening socket as the kernel describes it. Raises ``struct.error`` where that is too short."""
    family, _, _, _, port, _, address = _ENTRY.unpack_from(data)
    return TcpSocket(address[:4] if family == _IPV4 else address, port, *_INODE.unpack_from(data))


def listed(table: str) -> Iterator[TcpSocket]:
    """Yield what listens of /proc/net/tcp or tcp6. Lines that make no sense are left out.

    Column 1 is the local address and port in hexadecimal, column 3 the state, column 9 the inode.
    """
    for line in table.split("\n")[1:]:
        fields = line.split(None, 10)
        if len(fields) > 9 and fields[3] == f"{_LISTEN:02X}":
            address, _, port = fields[1].partition(":")
            with suppress(ValueError):
                yield TcpSocket(_address(address), int(port, 16), int(fields[9]))


def _address(digits: str) -> bytes:
    """Return the bytes of an address of which the kernel wrote each 32 bits as one number of this machine."""
    words = [bytes.fromhex(digits[start : start + 8]) for start in range(0, len(digits), 8)]
    return b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)


def _read(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return file.read().decode("ascii", "replace")
    except OSError:
        return None
