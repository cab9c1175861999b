"""Reading a data file strictly: an unknown key is an error, and never a rule that is silently not applied."""

from __future__ import annotations

from functools import cache
from typing import TypeVar

import msgspec

from provision import assets
from provision.errors import InvalidInputError

T = TypeVar("T")


@cache
def load(name: str, kind: type[T]) -> T:
    """Return ``profiles/<name>.yaml`` as ``kind``.

    Raises ``InvalidInputError`` that names the file and the key where it does not fit.
    """
    return check(assets.profile(name), kind, f"profiles/{name}.yaml")


def check(data: object, kind: type[T], source: str) -> T:
    """Return parsed YAML as ``kind``. Raises ``InvalidInputError`` that names ``source`` and the key."""
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise InvalidInputError(
            f"{source} cannot be used: {error}.", "Its JSON schema, for editors, is in profiles/schema/."
        ) from error
