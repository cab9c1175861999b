"""Ports: whether one can be had, and who has it."""

from __future__ import annotations

import socket

LISTEN_BACKLOG = 1


def is_free(host: str, port: int) -> bool:
    """Tell whether a server could listen there now. A bound port that does not listen yet counts as taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(LISTEN_BACKLOG)
    except OSError:
        return False
    return True


def pick_free(host: str) -> int:
    """Return a port that is free now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port


def owner(port: int) -> str | None:
    """Describe the process that listens on ``port``, such as ``python3 (process 4711)``.

    ``None`` where it cannot be seen: another user's process, or a container's.
    """
    import psutil

    try:
        connections = psutil.net_connections("tcp")
    except psutil.Error:
        return None
    for connection in connections:
        if connection.laddr and connection.laddr.port == port and connection.pid and not connection.raddr:
            try:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
            except psutil.Error:
                return f"process {connection.pid}"
    return None
