"""A capture as the files of its documented format (``docs/captures.md``), and those files in a directory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from posixpath import dirname, normpath

import msgspec

from provision.errors import CannotCreateError
from provision.host.capture import Capture
from provision.host.capture_format import (
    COMMANDS_FILE,
    ENV_FILE,
    PLACEHOLDER,
    PLATFORM_FILE,
    ROOT,
    SERVERS_FILE,
    CapturedAnswer,
    CapturedCommand,
    CapturedPlatform,
    CapturedServer,
)
from provision.host.files import PRIVATE_DIR, PRIVATE_FILE, explain, remove_tree, sync
from provision.host.machine import Access

MAX_PLACEHOLDERS = 2000
_UNDECODABLE = "\N{REPLACEMENT CHARACTER}".encode()


class Tree:
    """The paths of a capture: a text for each file that was read, ``None`` for all else that was seen.

    What was seen and not read, as what could not be read, is an empty directory: reading it gives nothing, and an
    empty file would claim that the file is empty.
    """

    def __init__(self, capture: Capture) -> None:
        self.nodes: dict[str, str | None] = {"/": None}
        for path, text in capture.texts.items():
            if text is not None:
                self._add(path, text)
        for path in _seen(capture):
            self._add(path)
        self._children: dict[str, set[str]] = {}
        for path in self.nodes:
            if path != "/":
                self._children.setdefault(dirname(path), set()).add(path.rpartition("/")[2])

    def _add(self, path: str, text: str | None = None) -> None:
        path = key(path)
        if "\0" in path:
            return
        above = path
        while (above := dirname(above)) != "/":
            if self.nodes.setdefault(above, None) is not None:
                return  # below a file: the machine changed between two looks at it
        if text is not None or path not in self.nodes:
            self.nodes[path] = text

    def names(self, path: str) -> tuple[str, ...]:
        """Return what a replay will list there."""
        return tuple(sorted(self._children.get(key(path), set()) - {PLACEHOLDER}))

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield the files below ``root/``; undecodable bytes stay so, and take one byte each."""
        for path, text in self.nodes.items():
            if text is not None and path not in self._children:
                yield f"{ROOT}{path}", text.encode().replace(_UNDECODABLE, b"\xff")
            elif path not in self._children:
                yield f"{ROOT}{path.rstrip('/')}/{PLACEHOLDER}", b""


def _seen(capture: Capture) -> Iterator[str]:
    """Yield the paths of which no more is known than that they are there."""
    yield from (path for path, there in capture.exists.items() if there)
    for directory, names in capture.listings.items():
        if len(names) <= MAX_PLACEHOLDERS:
            yield from (f"{directory}/{name}" for name in names)


def key(path: str) -> str:
    """Return ``path`` as one name a place."""
    return normpath(f"/{path.lstrip('/')}")


def encode(capture: Capture) -> dict[str, bytes]:
    """Return the files of a capture by their names in it."""
    tree = Tree(capture)
    commands = [
        CapturedCommand(argv, done.returncode, done.stdout, done.stderr)
        for argv, done in sorted(capture.commands.items())
    ]
    return {
        PLATFORM_FILE: _json(_platform(capture, tree)),
        ENV_FILE: _json(capture.env),
        COMMANDS_FILE: _json(commands),
        **({SERVERS_FILE: _json(_servers(capture))} if capture.listeners else {}),
        **dict(sorted(tree.files())),
    }


def _platform(capture: Capture, tree: Tree) -> CapturedPlatform:
    """Add to the platform the answers that files cannot give."""
    platform = capture.platform
    return CapturedPlatform(
        platform.system,
        platform.machine,
        release=platform.release,
        libc=platform.libc,
        uid=platform.uid,
        free_bytes=capture.space.free_bytes if capture.space else None,
        total_bytes=capture.space.total_bytes if capture.space else None,
        prefix=capture.prefix,
        access=_access(capture, tree),
        links={path: name for path, name in capture.links.items() if name or tree.nodes.get(key(path))},
        missing=tuple(path for path, there in sorted(capture.exists.items()) if not there and key(path) in tree.nodes),
        listings={path: names for path, names in capture.listings.items() if names != tree.names(path)},
        note=capture.note,
    )


def _servers(capture: Capture) -> list[CapturedServer]:
    return [
        CapturedServer(
            each.port,
            each.owner,
            each.ours,
            {
                path: CapturedAnswer(told.status, told.body.decode("utf-8", "replace"), dict(told.headers), told.error)
                for (port, path), told in capture.answers.items()
                if port == each.port
            },
        )
        for each in capture.listeners
    ]


def _access(capture: Capture, tree: Tree) -> dict[str, Access | None]:
    return {path: access for path, access in capture.access.items() if access or key(path) in tree.nodes}


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def write(files: Mapping[str, bytes], directory: Path) -> None:
    """Write a capture into a new or an empty directory, for this user only: all of it or nothing.

    Raises ``CannotCreateError`` where there is something already, and where it cannot be written.
    """
    check_place(directory)
    directory = Path(os.path.abspath(directory))
    is_new = not directory.exists()
    staged = (directory.parent if is_new else directory) / f".{directory.name}.tmp-{os.getpid()}"
    try:
        for name, data in files.items():
            _write_file(staged / name, data)
        if is_new:
            os.rename(staged, directory)
        else:
            _move_into(staged, directory)
        sync(directory.parent)
    except OSError as error:
        raise cannot_write(error, directory) from error
    finally:
        remove_tree(staged)


def check_place(directory: Path) -> None:
    """Raise ``CannotCreateError`` where a capture cannot go, before anything is asked of the machine."""
    directory, hint = Path(os.path.abspath(directory)), "Name a new directory."
    try:
        check_parent(directory)
        if os.path.lexists(directory) and not directory.is_dir():
            raise CannotCreateError(f"{directory} exists and is not a directory.", hint)
        if directory.exists() and any(directory.iterdir()):
            raise CannotCreateError(f"{directory} exists and is not empty.", hint)
    except OSError as error:
        raise cannot_write(error, directory) from error


def check_parent(place: Path) -> None:
    """Raise ``CannotCreateError`` where there is no directory to make ``place`` in."""
    if place.parent.is_dir():
        return
    if os.path.lexists(place.parent):
        raise CannotCreateError(f"{place.parent} is not a directory, so {place.name} cannot be made in it.")
    raise CannotCreateError(
        f"There is no directory {place.parent} to make {place.name} in.", f"mkdir -p {place.parent}"
    )


def cannot_write(error: OSError, place: Path) -> CannotCreateError:
    """Return the error of the contract for a place that was named by the user."""
    return CannotCreateError(
        explain(error, f"writing {place}").message, "Free some space, or name a place that you may write to."
    )


def _write_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def _move_into(staged: Path, directory: Path) -> None:
    """Give the entries their names; ``platform.json`` makes a capture of them and comes last."""
    moved: list[Path] = []
    try:
        for entry in sorted(staged.iterdir(), key=lambda path: path.name == PLATFORM_FILE):
            os.rename(entry, directory / entry.name)
            moved.append(directory / entry.name)
    except BaseException:
        for place in moved:
            remove_tree(place)
        raise
