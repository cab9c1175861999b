"""``fabric.lock`` as text: TOML, sorted, the same bytes for the same content. Pure."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import msgspec
from msgspec import inspect

from provision.domain.lock import LOCK_VERSION, Lock, lacking, platform_name, wish_of
from provision.domain.lock_names import check_names
from provision.domain.spec import Spec
from provision.errors import InvalidInputError

HEAD = (
    "# Made by `fabric lock`: what this wish was resolved to. Check it in; `fabric up --locked` uses nothing else.\n"
    "# Every field is written; [] says that there is none.\n"
)
AGAIN = "Make it anew with `fabric lock`, or take the last good one from version control."
NOTHING: list[object] = []  # TOML has no word for it, and no field that may be nothing is a list
MAX_LOCK_BYTES = 4 << 20  # that of every kind of machine has some hundred kilobytes
MAX_DOTS = 200  # in one line
MARKERS = ("<<<<<<<", "=======", ">>>>>>>")


def lock_text(lock: Lock) -> str:
    """Return the text of the file."""
    import tomli_w

    written = msgspec.to_builtins(asdict(lock), order="sorted")  # msgspec alone leaves defaults out of what it has read
    return HEAD + tomli_w.dumps(_with_every_field(written))


def parse_lock(data: bytes, name: str) -> Lock:
    """Return the lock in ``data``. Raises ``InvalidInputError``, with the line where TOML itself is broken."""
    document = _document(data, name)
    version = document.get("lock_version")
    if version != LOCK_VERSION:
        raise InvalidInputError(f"{name} has lock_version {version}; this fabric reads {LOCK_VERSION}.", AGAIN)
    known = inspect.type_info(Lock)
    missing, unknown = list(_missing(document, known, "")), list(_unknown(document, known, ""))
    _refuse_incomplete(missing, name)
    if unknown:
        raise InvalidInputError(f"{name} has what this fabric does not know:\n{_listed(unknown)}", AGAIN)
    try:
        _read_nothing(document, known)
        lock = msgspec.convert(document, Lock)
    except (msgspec.ValidationError, RecursionError) as error:
        raise InvalidInputError(f"{name} cannot be used: {error}.", AGAIN) from error
    check_names(lock, name)
    return lock


def why_incomplete(lock: Lock) -> list[str]:
    """Return everything that keeps a lock from being used by itself; empty where nothing does."""
    found = [] if lock.platforms else ["an entry for any kind of machine"]
    for name, locked in sorted(lock.platforms.items()):
        own = platform_name(locked.release)
        found += [f"{name}: {what}" for what in lacking(locked)]
        found += [f"{name}: a release for it; there is one for {own}"] if name != own else []
    return found


def check_complete(lock: Lock, name: str) -> None:
    """Raise ``InvalidInputError``, with all that is missing, for a lock that cannot be used by itself."""
    _refuse_incomplete(why_incomplete(lock), name)


def check_wish(lock: Lock, wish: tuple[str, ...], name: str) -> None:
    """Raise ``InvalidInputError`` for a lock that was made for other options."""
    if lock.wish != wish:
        raise InvalidInputError(
            f"{name} was made for another wish: {said(lock.wish)}, not {said(wish)}.",
            "Ask for the same, or make it anew with `fabric lock`.",
        )


def wished(lock: Lock, name: str) -> Spec:
    """Return what a lock was made for. Raises ``InvalidInputError`` for what ``Spec.options`` does not write."""
    values: dict[str, Any] = {}
    sources: list[str | None] = []
    words = iter(lock.wish)
    for option in words:
        key = option.removeprefix("--").replace("-", "_")
        value = "true" if isinstance(getattr(Spec, key, None), bool) else next(words, None)
        if key == "source":
            sources.append(value)
        else:
            values[key] = value
    install = {"sources": sources, "program": values.pop("program", None)}
    try:
        found = msgspec.convert({**values, "install": install}, Spec, strict=False)
    except msgspec.ValidationError:
        found = None
    if found is None or found.version != Spec.version or wish_of(found) != lock.wish:
        raise InvalidInputError(f"{name} was made for what is no wish: {said(lock.wish)}.", AGAIN)
    return found


def said(options: tuple[str, ...]) -> str:
    """Return options as they are written."""
    return " ".join(options) or "no options"


def _refuse_incomplete(missing: list[str], name: str) -> None:
    if missing:
        raise InvalidInputError(f"{name} is not complete. It lacks:\n{_listed(missing)}", AGAIN)


def _listed(found: list[str]) -> str:
    return "\n".join(f"  {each}" for each in found)


def _document(data: bytes, name: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        text = data.decode("utf-8")
        marked = next((n for n, line in enumerate(text.splitlines(), 1) if line.startswith(MARKERS)), None)
        if marked is not None:
            raise InvalidInputError(f"{name} has the marks of a merge that is not finished, in line {marked}.", AGAIN)
        _refuse_deep_keys(text, name)
        document: dict[str, Any] = tomllib.loads(text)
        return document
    except (UnicodeDecodeError, RecursionError, ValueError) as error:  # broken TOML is a ValueError
        raise InvalidInputError(f"{name} cannot be read: {error}.", AGAIN) from error


def _refuse_deep_keys(text: str, name: str) -> None:
    """A key of ten thousand parts takes the parser minutes; no line that fabric writes has so many dots."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > MAX_DOTS:
            raise InvalidInputError(f"{name} cannot be read: line {number} has more than {MAX_DOTS} dots.", AGAIN)


def _missing(value: Any, kind: inspect.Type, path: str) -> Iterator[str]:
    """Yield the fields that are not there: none is left out, so that nothing gets lost without a word."""
    if isinstance(kind, inspect.DataclassType) and isinstance(value, dict):
        for field in kind.fields:
            name = field.encode_name
            if name not in value:
                yield f"{path}{name}"
            else:
                yield from _missing(value[name], field.type, f"{path}{name}.")
        return
    for place, inner, of in _inside(value, kind):
        yield from _missing(inner, of, f"{path}{place}")


def _unknown(value: Any, kind: inspect.Type, path: str) -> Iterator[str]:
    """Yield what is there and has no meaning: it would not be written again, and may be a slip of the hand."""
    if isinstance(kind, inspect.DataclassType) and isinstance(value, dict):
        known = {field.encode_name: field.type for field in kind.fields}
        yield from (f"{path}{key}" for key in value if key not in known)
        for key in known.keys() & value.keys():
            yield from _unknown(value[key], known[key], f"{path}{key}.")
        return
    for place, inner, of in _inside(value, kind):
        yield from _unknown(inner, of, f"{path}{place}")


def _inside(value: Any, kind: inspect.Type) -> Iterator[tuple[str, Any, inspect.Type]]:
    """Yield what a value holds, with what its place adds to the path and its type."""
    if isinstance(kind, inspect.UnionType):
        structured = next((each for each in kind.types if isinstance(each, inspect.DataclassType)), None)
        if structured is not None:
            yield "", value, structured
    elif isinstance(kind, inspect.VarTupleType) and isinstance(value, list):
        yield from ((f"{number}.", each, kind.item_type) for number, each in enumerate(value))
    elif isinstance(kind, inspect.DictType) and isinstance(value, dict):
        yield from ((f"{key}.", each, kind.value_type) for key, each in value.items())


def _with_every_field(value: Any) -> Any:
    """Write ``NOTHING`` for ``None``."""
    if isinstance(value, dict):
        return {key: _with_every_field(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_every_field(each) for each in value]
    return NOTHING if value is None else value


def _read_nothing(value: Any, kind: inspect.Type) -> None:
    """Put ``None`` where ``NOTHING`` stands for it."""
    if isinstance(kind, inspect.DataclassType) and isinstance(value, dict):
        for field in kind.fields:
            name = field.encode_name
            if value[name] == NOTHING and isinstance(field.type, inspect.UnionType):
                value[name] = None
            else:
                _read_nothing(value[name], field.type)
        return
    for _, inner, of in _inside(value, kind):
        _read_nothing(inner, of)
