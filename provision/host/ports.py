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

    pid = owner_pid(port)
    if pid is None:
        return None
    try:
        return f"{psutil.Process(pid).name()} (process {pid})"
    except psutil.Error:
        return f"process {pid}"


def owner_pid(port: int) -> int | None:
    """Return the process that listens on ``port``; ``None`` where it cannot be seen."""
    import psutil

    try:
        connections = psutil.net_connections("tcp")
    except psutil.Error:
        return None
    ours = (each for each in connections if each.laddr and each.laddr.port == port and not each.raddr)
    return next((each.pid for each in ours if each.pid), None)
