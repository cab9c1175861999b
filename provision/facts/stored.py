"""Machines that are not this one: facts files, captures, and directories of either."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from provision.domain.facts import Facts
from provision.errors import FabricError, InvalidInputError
from provision.facts.replayed import read_replay
from provision.host.capture_format import PLATFORM_FILE

SCHEMA = "fabric.facts/v1"
MAX_FACTS_BYTES = 16 << 20
BUNDLE = ".tar.gz"
GZIP = b"\x1f\x8b"


class _Document(msgspec.Struct):
    """What a facts file has at least; nothing else about a machine is sure."""

    schema: str
    os: dict[str, object]


class StoredMachine(NamedTuple):
    """One machine by name: its facts, or why they cannot be used."""

    name: str
    facts: Facts | None
    error: FabricError | None = None


def read_facts(path: Path) -> Facts:
    """Return the facts in one file that ``fabric facts --json`` made, or of one capture or bundle.

    Raises ``InvalidInputError`` for anything else.
    """
    if path.is_dir():
        return read_replay(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FACTS_BYTES + 1)
    except OSError as error:
        raise InvalidInputError(f"Cannot read the facts in {path}: {error.strerror}.") from error
    if data.startswith(GZIP):
        return read_replay(path)
    try:
        return _decode(data)
    except (ValueError, InvalidInputError, msgspec.MsgspecError, RecursionError) as error:
        raise InvalidInputError(f"{path} does not hold facts: {error}.", _MAKE) from error


def _decode(data: bytes) -> Facts:
    """Return the facts in a document. Raises ``ValueError`` or what msgspec raises for anything else."""
    if not data.strip():
        raise ValueError("it is empty")
    if len(data) > MAX_FACTS_BYTES:
        raise ValueError(f"it is larger than {MAX_FACTS_BYTES >> 20} MiB")
    text = data.decode("utf-16" if data.startswith(_UTF_16) else "utf-8-sig")  # editors and shells of Windows
    document = msgspec.json.decode(text)
    if isinstance(document, dict) and isinstance(document.get("error"), dict):
        raise InvalidInputError(f"it holds an error: {document['error'].get('message')}")
    schema = msgspec.convert(document, _Document).schema
    if schema != SCHEMA:
        raise ValueError(f"its schema is {schema}, not {SCHEMA}; another version of fabric may read it")
    _refuse_absurd(document)
    return msgspec.convert(document, Facts)


def _refuse_absurd(value: object) -> None:
    """No count or size of a machine is negative or needs more than 62 bits."""
    if isinstance(value, int) and not 0 <= value < _MAX_NUMBER:
        raise ValueError("it holds a number that no machine has")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _refuse_absurd(each)


_MAKE = "Make it with `fabric facts --json > FILE`."
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_MAX_NUMBER = 1 << 62


def read_machines(paths: Iterable[Path]) -> Iterator[StoredMachine]:
    """Yield every machine of some files, captures and directories of them, in the order of their names.

    What cannot be read, a directory without any machine too, is yielded with its error.
    """
    found = [each for path in paths for each in _expand(path)]
    counted = Counter(map(_name, found))
    for path in found:
        name = _name(path)
        yield _read(f"{path.parent.name}/{name}" if counted[name] > 1 else name, path)


def _read(name: str, path: Path) -> StoredMachine:
    try:
        if path.is_dir() and not (path / PLATFORM_FILE).is_file():
            raise _nothing_in(path)
        return StoredMachine(name, read_facts(path))
    except FabricError as error:
        return StoredMachine(name, None, error)


def _nothing_in(path: Path) -> InvalidInputError:
    return InvalidInputError(
        f"{path} holds neither facts files (*.json) nor captures.",
        "Fill it with `fabric facts --json > DIR/NAME.json`, or with captures.",
    )


def is_several(paths: list[Path]) -> bool:
    """Tell whether ``paths`` mean more than one machine, or a place for several."""
    return len(paths) > 1 or (paths[0].is_dir() and not (paths[0] / PLATFORM_FILE).is_file())


def _expand(path: Path) -> Iterator[Path]:
    if not path.is_dir() or (path / PLATFORM_FILE).is_file():
        yield path
        return
    entries = sorted(path.iterdir())
    machines = [entry for entry in entries if _is_machine(entry)]
    yield from machines or [path]


def _is_machine(entry: Path) -> bool:
    return entry.name.endswith((".json", BUNDLE)) or (entry / PLATFORM_FILE).is_file()


def _name(path: Path) -> str:
    return path.name.removesuffix(".json").removesuffix(BUNDLE)
