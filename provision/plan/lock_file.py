"""``fabric.lock`` as text: TOML, sorted, the same bytes for the same content. Pure."""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from provision.domain.lock import LOCK_VERSION, Lock
from provision.errors import InvalidInputError

HEAD = "# Made by `fabric lock`: what this wish was resolved to. Check it in; `fabric up --locked` uses nothing else.\n"
AGAIN = "Make it anew with `fabric lock`, or take the last good one from version control."


def lock_text(lock: Lock) -> str:
    """Return the text of the file."""
    import tomli_w

    return HEAD + tomli_w.dumps(_without_nothing(msgspec.to_builtins(lock, order="sorted")))


def parse_lock(data: bytes, name: str) -> Lock:
    """Return the lock in ``data``. Raises ``InvalidInputError``, with the line where TOML itself is broken."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        document = tomllib.loads(data.decode("utf-8"))
        version = document.get("lock_version")
        if version != LOCK_VERSION:
            raise InvalidInputError(f"{name} has lock_version {version}; this fabric reads {LOCK_VERSION}.", AGAIN)
        return msgspec.convert(document, Lock)
    except (UnicodeDecodeError, RecursionError, ValueError) as error:  # broken TOML and wrong types are ValueErrors
        raise InvalidInputError(f"{name} cannot be used: {error}.", AGAIN) from error


def _without_nothing(value: Any) -> Any:
    """Leave out what is ``None``, for which TOML has no word, and what is empty, which says the same as its absence."""
    if isinstance(value, dict):
        kept = {key: _without_nothing(each) for key, each in value.items()}
        return {key: each for key, each in kept.items() if each not in (None, [], {})}
    if isinstance(value, list):
        return [_without_nothing(each) for each in value]
    return value
