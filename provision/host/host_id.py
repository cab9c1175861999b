"""Which machine this is, by an id that survives a restart and names nobody."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

_PLACES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_SALT = "llm-fabric"  # the id itself is not to leave the machine: systemd's machine-id(5)
_ID_DIGITS = 16


def host_id() -> str | None:
    """Return a salted hash of the machine's own id; ``None`` where it has none, as many containers."""
    own = _of_darwin() if sys.platform == "darwin" else _of_files()
    return hashlib.sha256(f"{_SALT} {own}".encode()).hexdigest()[:_ID_DIGITS] if own else None


def _of_files() -> str | None:
    for place in _PLACES:
        try:
            text = place.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if len(text) == 32 and set(text) <= set("0123456789abcdef"):  # and not the word for "not set up yet"
            return text
    return None


def _of_darwin() -> str | None:
    """Ask as ``gethostuuid(3)`` tells; a second is what it may wait for."""
    import ctypes

    uuid, timeout = (ctypes.c_ubyte * 16)(), (ctypes.c_long * 2)(1, 0)
    try:
        failed = ctypes.CDLL(None).gethostuuid(uuid, timeout)
    except (OSError, AttributeError):
        return None
    return None if failed else bytes(uuid).hex()
