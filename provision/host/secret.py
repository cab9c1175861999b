"""The API key: read from the environment variable that the spec names, kept in one file for this user only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from provision.errors import UsageError
from provision.host.files import commit, explained, make_private_dir
from provision.host.layout import Layout
from provision.host.reading import read_private


def fingerprint(variable: str | None, env: Mapping[str, str], layout: Layout) -> str | None:
    """Return a salted hash that changes with the key, ``None`` where no key is wanted.

    Where the variable is not set, the key that is stored counts.
    """
    return _hash(key_of(variable, env, layout), layout)


def check_key(variable: str | None, env: Mapping[str, str], layout: Layout, *, stored_counts: bool = True) -> None:
    """Raise ``UsageError`` where a key is wanted and the variable holds none.

    The stored key does not count where it is for another host.
    """
    given = env.get(variable, "").strip() if variable else ""
    if variable and not given and (not stored_counts or stored_key(layout) is None):
        raise UsageError(f"The environment variable {variable} holds no API key.", f"export {variable}=…")


def store_key(variable: str | None, env: Mapping[str, str], layout: Layout) -> None:
    """Write the key where the server reads it, or remove it where none is wanted."""
    if variable is None:
        layout.api_key.unlink(missing_ok=True)
        return
    check_key(variable, env, layout)
    key = key_of(variable, env, layout) or ""
    with explained("writing the API key"):
        make_private_dir(layout.secrets)
        commit(layout.api_key, key.encode() + b"\n")


@contextmanager
def replaced_key(variable: str | None, env: Mapping[str, str], layout: Layout) -> Iterator[None]:
    """Have no other key stored while the body changes whom it is for, and the one that is wanted afterwards.

    Killed in between, no key is there, and so none goes to a host that it was not meant for.
    """
    key = key_of(variable, env, layout)
    if key != stored_key(layout):
        layout.api_key.unlink(missing_ok=True)
    yield
    store_key(variable, {**env, variable: key} if variable and key else env, layout)


def stored_fingerprint(layout: Layout) -> str | None:
    """Return what ``fingerprint`` would for the key that is stored."""
    return _hash(stored_key(layout), layout)


def _hash(key: str | None, layout: Layout) -> str | None:
    if key is None:
        return None
    return hashlib.scrypt(key.encode(), salt=str(layout.prefix).encode(), n=1 << 10, r=8, p=1, dklen=16).hex()


def key_of(variable: str | None, env: Mapping[str, str], layout: Layout) -> str | None:
    """Return the key that is wanted: the variable's, else the stored one; ``None`` where none is."""
    if not variable:
        return None
    return env.get(variable, "").strip() or stored_key(layout)


def stored_key(layout: Layout) -> str | None:
    """Return the key that the server reads, ``None`` where none is stored."""
    stored = read_private(layout.api_key)
    return stored.decode("utf-8", "replace").strip() if stored else None
