"""Environments: the user's without what is nobody else's business, and the one that a process was started with."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAMES = re.compile(
    r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|(ACCESS|PRIVATE|ACCOUNT)_KEY|_(KEY|PAT|AUTH)$", re.IGNORECASE
)
_LOGIN = re.compile(r"://[^/@\s]+@")


def without_secrets(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for programs that are neither ours nor a server.

    It has the variables whose names do not tell of a secret and whose values hold no address with a login.
    """
    return {name: value for name, value in env.items() if not _NAMES.search(name) and not _LOGIN.search(value)}


def environment_of(pid: int) -> dict[str, str] | None:
    """Return what ``pid`` was started with; ``None`` where it has ended or cannot be looked at.

    It is empty where the process has written its title over it.
    """
    import psutil

    try:
        return psutil.Process(pid).environ()
    except (psutil.Error, OSError):
        return None
