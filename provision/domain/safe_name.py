"""Names that come from elsewhere: whether they may become a path, and how they are shown."""

from __future__ import annotations

import re
from pathlib import Path

from provision.errors import RefusedError

MAX_PATH_CHARACTERS = 1024
MAX_PART_BYTES = 255  # of a file's name, on every usual file system
MAX_NAME_CHARACTERS = 80  # Ollama takes no more
_UNUSUAL = re.compile(r"[^A-Za-z0-9_.-]+", re.ASCII)


def is_safe_path(path: str) -> bool:
    """Tell whether ``path`` is relative, stays where it is put, and can be printed and stored everywhere."""
    parts = path.split("/")
    return (
        len(path) <= MAX_PATH_CHARACTERS
        and path.isprintable()  # neither NUL nor control characters, surrogates or signs that turn the text around
        and "\\" not in path
        and not re.match(r"[A-Za-z]:", path)
        and all(part not in ("", ".", "..") and len(part.encode()) <= MAX_PART_BYTES for part in parts)
    )


def is_safe_name(name: str) -> bool:
    """Tell whether ``name`` is a safe path of one part."""
    return is_safe_path(name) and "/" not in name


def inside(directory: Path, path: str) -> Path:
    """Return where ``path`` lies below ``directory``. Raises ``RefusedError`` for one that is not safe."""
    if not is_safe_path(path):
        raise RefusedError(f"{shown(path)} is no path inside a directory.", "Nothing was written there.")
    return directory / path


def client_name(text: str) -> str:
    """Return what clients ask for by name, made of the name of a file or directory: every engine takes it as it is."""
    return _UNUSUAL.sub("-", text).strip("-.")[:MAX_NAME_CHARACTERS].rstrip("-.") or "model"


def shown(text: str | None) -> str:
    """Return ``text`` for a message: escaped, and not longer than a line."""
    escaped = ascii(text) if text is None or not text.isprintable() else repr(text)
    return escaped if len(escaped) <= 100 else f"{escaped[:80]}... ({len(escaped)} characters)"
