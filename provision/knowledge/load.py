"""Reading a data file strictly: an unknown key is an error, and never a rule that is silently not applied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from provision import assets
from provision.errors import InvalidInputError

T = TypeVar("T")

VERSION = 1  # of the data files
MAX_OWN_BYTES = 1 << 20


@cache
def load(name: str, kind: type[T]) -> T:
    """Return ``profiles/<name>.yaml`` as ``kind``.

    Raises ``InvalidInputError`` that names the file and the key where it does not fit.
    """
    return check(assets.profile(name), kind, f"profiles/{name}.yaml")


def check(data: object, kind: type[T], source: str) -> T:
    """Return parsed YAML as ``kind``. Raises ``InvalidInputError`` that names ``source`` and the key."""
    try:
        _check_version(data)
        _refuse_unknown(data, kind, "$")
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise InvalidInputError(
            f"{source} cannot be used: {error}.", "Its JSON schema, for editors, is in profiles/schema/."
        ) from error


def _check_version(data: object) -> None:
    version = data.get("version", VERSION) if isinstance(data, dict) else VERSION
    if version != VERSION:
        raise msgspec.ValidationError(f"version {version} is not known; this fabric reads {VERSION}")


def read_yaml(path: Path) -> Any:
    """Return what is in a file of the user's. Raises ``InvalidInputError`` where it cannot be read or is no YAML."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_OWN_BYTES).decode("utf-8-sig")
            is_whole = not file.read(1)
        assets.refuse_unbounded_yaml(text, is_whole=is_whole)
        return assets.parse_yaml(text)
    except OSError as error:
        raise InvalidInputError(f"Cannot read {path}: {error.strerror}.", "Check its permissions.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path} is no YAML: {' '.join(str(error).split())}.", "Correct it.") from error


def refuse_twins(names: Iterable[str]) -> None:
    """Raise ``ValueError``, which reading a file turns into its error, where a name stands twice."""
    twins = [name for name, count in Counter(names).items() if count > 1]
    if twins:
        raise ValueError(f"{twins[0]} is there twice")


def _refuse_unknown(data: object, kind: Any, place: str) -> None:
    """Structs refuse unknown keys themselves; the dataclasses inside them would ignore them."""
    if isinstance(data, list):
        for number, each in enumerate(data):
            _refuse_unknown(each, _items(kind), f"{place}[{number}]")
    elif isinstance(data, dict):
        fields = _fields(kind)
        unknown = sorted(str(key) for key in data if fields is not None and key not in fields)
        if unknown:
            raise msgspec.ValidationError(f"Object contains unknown field `{unknown[0]}` - at `{place}`")
        for key, each in data.items():
            _refuse_unknown(each, _items(kind) if fields is None else fields[key], f"{place}.{key}")


@cache
def _fields(kind: Any) -> dict[str, Any] | None:
    """Return the types of the fields of a struct or a dataclass, ``None`` for anything else."""
    for each in _alternatives(kind):
        if isinstance(each, type) and (issubclass(each, msgspec.Struct) or is_dataclass(each)):
            return get_type_hints(each)
    return None


def _items(kind: Any) -> Any:
    """Return the type of what is in a list, or of the values of a mapping."""
    arguments = [argument for each in _alternatives(kind) for argument in get_args(each) if argument is not Ellipsis]
    return arguments[-1] if arguments else object


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
