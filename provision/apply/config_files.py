"""Writing a configuration into a file of the user's, and taking it back.

Before the file is touched, what stands in it, what is added and the record of both are on disk, so that a run that is
killed at any moment leaves the old file or the new one, and a record that fits either. What stood there before is kept
inside the prefix until it is back in its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from provision.apply.config_copies import (
    WHOLE,
    Rendered,
    copy_of,
    forget,
    known_files,
    record_of,
    remember,
    sha256,
    sweep,
)
from provision.apply.user_file import explained_outside, read, real_path, replace_content, staged, writable
from provision.domain.frozen import frozen
from provision.domain.state import ConfigFile, State
from provision.errors import FabricError, InvalidInputError
from provision.host.files import commit, unused_name
from provision.host.layout import Layout
from provision.host.reading import read_bytes
from provision.plan.config_text import CannotMergeError, with_ours, without_ours

ASIDE = ".before-fabric"


@frozen
class Written:
    """What was done: the file that was written, whether it changed, and the copy of what stood there before.

    ``replaced`` is the format that fabric had put there, where it was another one.
    """

    path: Path
    changed: bool
    backup: Path | None
    replaced: str | None = None


@frozen
class TakenBack:
    """What became of one file: ``removed``, ``restored``, ``edited``, ``gone`` or ``left``.

    ``edited`` is a file that was edited since, in which our values are as they were before. Where that cannot be done
    it is ``left`` as it is, and where somebody removed the file it is ``gone``; in both cases what stood there before
    lies at ``aside``, if there was anything. ``why`` tells what was in the way. What is ``left`` stays remembered.
    """

    path: str
    outcome: str
    why: str | None = None
    aside: str | None = None


def write(layout: Layout, state: State, path: Path, rendered: Rendered) -> Written:
    """Put ``rendered`` into the file at ``path``, in place of what was put there before. The lock is held.

    Raises as ``writable``, ``InvalidInputError`` where it cannot be merged, ``CannotCreateError`` where nothing can be
    written; then the file is as it was.
    """
    path = writable(layout, path)
    old = next((each for each in known_files(state) if each.path == str(path)), None)
    now = read(path)
    try:
        theirs = _without(layout, old, now)
        data = with_ours(rendered.syntax, _text(theirs), rendered.text, rendered.keep).encode()
    except CannotMergeError as error:
        raise InvalidInputError(
            f"{path} stays as it is: {error}.",
            f"Name a new file, or add by hand what `fabric config {rendered.format}` prints.",
        ) from error
    before = theirs if now is not None else copy_of(layout, old.before if old else None)
    record = record_of(path, rendered, before, (data, now))
    if old is not None:
        record = replace(record, made_parents=tuple(dict.fromkeys((*record.made_parents, *old.made_parents))))
    if now != data or old is None or (old.format, old.syntax, old.ours) != (record.format, record.syntax, record.ours):
        state = remember(layout, state, record, {record.ours: rendered.text.encode(), record.before: before})
        try:
            with explained_outside(path):
                for parent in reversed(record.made_parents):
                    Path(parent).mkdir(exist_ok=True)
                replace_content(layout, path, data, now)
        except FabricError:
            if old is None and _holds(path, now):
                _remove_empty(record.made_parents)
                forget(layout, state, record)
            raise
    replaced = old.format if old and old.format != record.format else None
    return Written(path, now != data, layout.config_files / record.before if record.before else None, replaced)


def _holds(path: Path, data: bytes | None) -> bool:
    """Tell whether a file that could not be written is as it was."""
    try:
        return read(path) == data
    except FabricError:  # its name alone is impossible
        return data is None


def _remove_empty(directories: Iterable[str]) -> None:
    for directory in directories:
        with suppress(OSError):  # somebody uses it, or it was never made
            Path(directory).rmdir()


def take_back(layout: Layout, record: ConfigFile, *, for_good: bool) -> TakenBack:
    """Take what was written into one file out of it. May be repeated; the caller forgets the record afterwards.

    With ``for_good`` nothing is kept in the prefix: what stood in a file that is left is put beside it. Raises
    ``CannotCreateError`` where what stood there before can be put neither back nor beside.
    """
    path, before = real_path(Path(record.path)), None
    try:
        before = copy_of(layout, record.before)
        with explained_outside(path):
            staged(layout, path).unlink(missing_ok=True)
        now = read(path)
        back = _without(layout, record, now)
        if back != now:
            with explained_outside(path):
                path.unlink() if back is None else replace_content(layout, path, back, now)
    except (CannotMergeError, FabricError) as error:
        why = error.message if isinstance(error, FabricError) else str(error)
        kept = str(layout.config_files / record.before) if record.before and before is not None else None
        return TakenBack(record.path, "left", why, _put_aside(path, before) if for_good else kept)
    if back is None:
        _remove_empty(record.made_parents)
    if now is None:
        return TakenBack(record.path, "gone", aside=_put_aside(path, before))
    return TakenBack(record.path, "removed" if back is None else "restored" if back == before else "edited")


def take_each_back(
    layout: Layout, state: State, records: Iterable[ConfigFile], *, for_good: bool = False
) -> tuple[list[TakenBack], State]:
    """Take back what was written into files, one after the other; return what became of each, and the written state.

    A copy is forgotten only when what stood in its file is back in its place or, ``for_good``, beside it. Raises the
    first error of ``take_back`` after the other files.
    """
    taken, obstacles = [], list[FabricError]()
    for record in records:
        try:
            done = take_back(layout, record, for_good=for_good)
        except FabricError as error:
            obstacles.append(error)
            continue
        taken.append(done)
        if for_good or done.outcome != "left":
            state = forget(layout, state, record)
    sweep(layout, state)
    if obstacles:
        raise obstacles[0]
    return taken, state


def _text(data: bytes | None) -> str | None:
    """Decode what stands in a file. Raises ``CannotMergeError``."""
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError as error:
        raise CannotMergeError("it is not UTF-8") from error


def _without(layout: Layout, record: ConfigFile | None, now: bytes | None) -> bytes | None:
    """Return a file's content without what ``record`` says that was written into it. Raises ``CannotMergeError``."""
    if record is None or now is None:
        return now
    before = copy_of(layout, record.before)
    if record.syntax == WHOLE or sha256(now) in record.known:
        return before
    ours = _text(copy_of(layout, record.ours)) or ""
    back = without_ours(record.syntax, _text(now) or "", ours, _text(before))
    return None if back is None else back.encode()


def _put_aside(path: Path, before: bytes | None) -> str | None:
    """Put what stood in a file beside it, and return where."""
    if before is None:
        return None
    place = path.with_name(path.name + ASIDE)
    with explained_outside(place):
        if read_bytes(place) != before:
            place = unused_name(place)
            place.parent.mkdir(parents=True, exist_ok=True)
            commit(place, before)
    return str(place)
