"""The TCP sockets on which given processes listen: where a server can be reached, whatever it was told."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from provision.host.ports import LISTEN_STATE

TABLES = ("/proc/self/net/tcp", "/proc/self/net/tcp6")


@dataclass(frozen=True, order=True)
class ListeningSocket:
    """``address`` is a literal; ``program`` the name of the process that listens."""

    address: str
    port: int
    pid: int
    program: str

    @property
    def place(self) -> str:
        """Return it as it is written in an address."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def sockets_of(pids: Iterable[int]) -> tuple[ListeningSocket, ...] | None:
    """Return all of them in order; ``None`` where a process that runs does not let itself be looked at."""
    try:
        return tuple(sorted(set(_linux(pids) if sys.platform == "linux" else _elsewhere(pids))))
    except PermissionError:
        return None


def _linux(pids: Iterable[int]) -> Iterator[ListeningSocket]:
    """Read the kernel's tables once, and then which of these sockets each process has open."""
    listening = dict(_listed())
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            program = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
            for handle in os.listdir(f"/proc/{pid}/fd"):
                with suppress(FileNotFoundError):
                    address = listening.get(os.readlink(f"/proc/{pid}/fd/{handle}"))
                    if address is not None:
                        yield ListeningSocket(*address, pid, program)


def _listed() -> Iterator[tuple[str, tuple[str, int]]]:
    """Yield address and port of every listening socket by the name that a handle of it has.

    Of a line, column 1 is the local address and port in hexadecimal, 3 the state, 9 the inode.
    """
    for table in TABLES:
        with suppress(FileNotFoundError):  # IPv6 may be off
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTEN_STATE:
                    address, _, port = fields[1].partition(":")
                    yield f"socket:[{fields[9]}]", (_literal(address), int(port, 16))


def _literal(digits: str) -> str:
    """Return an address of which the kernel wrote each 32 bits as one number of this machine."""
    words = [bytes.fromhex(digits[start : start + 8]) for start in range(0, len(digits), 8)]
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _elsewhere(pids: Iterable[int]) -> Iterator[ListeningSocket]:
    import psutil

    for pid in pids:
        try:
            process = psutil.Process(pid)
            for each in process.net_connections("tcp"):
                if each.status == psutil.CONN_LISTEN:
                    yield ListeningSocket(each.laddr.ip, each.laddr.port, pid, process.name())
        except (psutil.NoSuchProcess, psutil.ZombieProcess):  # it has just ended
            continue
        except psutil.Error as error:
            raise PermissionError from error


def addresses_of(host: str) -> frozenset[str]:
    """Return the literal addresses of a host name, or of a literal; none where nobody knows it."""
    try:
        return frozenset(str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except OSError:
        return frozenset()
