"""The API key: read from the environment variable that the spec names, kept in one file for this user only."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from provision.errors import UsageError
from provision.host.files import commit, explained, make_private_dir, read_bytes
from provision.host.layout import Layout


def fingerprint(variable: str | None, env: Mapping[str, str], layout: Layout) -> str | None:
    """Return a salted hash that changes with the key, ``None`` where no key is wanted.

    Where the variable is not set, the key that is stored counts.
    """
    key = _key(variable, env, layout) if variable else None
    if key is None:
        return None
    return hashlib.scrypt(key.encode(), salt=str(layout.prefix).encode(), n=1 << 10, r=8, p=1, dklen=16).hex()


def check_key(variable: str | None, env: Mapping[str, str], layout: Layout) -> None:
    """Raise ``UsageError`` where a key is wanted and the variable holds none."""
    if variable and _key(variable, env, layout) is None:
        raise UsageError(f"The environment variable {variable} holds no API key.", f"export {variable}=…")


def store_key(variable: str | None, env: Mapping[str, str], layout: Layout) -> None:
    """Write the key where the server reads it, or remove it where none is wanted."""
    if variable is None:
        layout.api_key.unlink(missing_ok=True)
        return
    check_key(variable, env, layout)
    key = _key(variable, env, layout) or ""
    with explained("writing the API key"):
        make_private_dir(layout.secrets)
        commit(layout.api_key, key.encode() + b"\n")


def _key(variable: str | None, env: Mapping[str, str], layout: Layout) -> str | None:
    given = env.get(variable, "").strip() if variable else ""
    if given:
        return given
    return stored_key(layout)


def stored_key(layout: Layout) -> str | None:
    """Return the key that the server reads, ``None`` where none is stored."""
    stored = read_bytes(layout.api_key)
    return stored.decode("utf-8", "replace").strip() if stored else None
