"""The TCP sockets on which given processes listen: where a server can be reached, whatever it was told."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from provision.host.socket_table import TcpSocket, tcp_listeners


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
        told = tcp_listeners()
        return tuple(sorted(set(_elsewhere(pids) if told is None else _of_linux(told, pids))))
    except PermissionError:
        return None


def listens(pid: int, port: int) -> bool | None:
    """Tell whether process ``pid`` itself listens on ``port``; ``None`` where that cannot be seen.

    An answer on a port proves nothing: it may come from a stranger who was faster.
    """
    found = sockets_of([pid])
    return None if found is None else any(each.port == port for each in found)


def _of_linux(told: Iterable[TcpSocket], pids: Iterable[int]) -> Iterator[ListeningSocket]:
    """Find which of these sockets each process has open."""
    listening = {f"socket:[{each.inode}]": each for each in told}
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            program = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
            for handle in os.listdir(f"/proc/{pid}/fd"):
                with suppress(FileNotFoundError):
                    found = listening.get(os.readlink(f"/proc/{pid}/fd/{handle}"))
                    if found is not None:
                        yield ListeningSocket(_literal(found.address), found.port, pid, program)


def _literal(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


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
