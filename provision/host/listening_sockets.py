"""The TCP sockets on which given processes listen: where a server can be reached, whatever it was told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


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
    import psutil

    found = set[ListeningSocket]()
    for pid in pids:
        try:
            process = psutil.Process(pid)
            listening = [each for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
            found |= {ListeningSocket(each.laddr.ip, each.laddr.port, pid, process.name()) for each in listening}
        except (psutil.NoSuchProcess, psutil.ZombieProcess):  # it has just ended
            continue
        except (psutil.Error, OSError):
            return None
    return tuple(sorted(found))


def addresses_of(host: str) -> frozenset[str]:
    """Return the literal addresses of a host name, or of a literal; none where nobody knows it."""
    import socket

    try:
        return frozenset(str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except OSError:
        return frozenset()
