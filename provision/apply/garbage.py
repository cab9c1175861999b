"""What of a prefix nobody needs any more: marked here, removed elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from provision.apply.generations import files_besides, worth_keeping
from provision.apply.store import unrecorded
from provision.domain.frozen import frozen
from provision.domain.plan import Kind
from provision.domain.state import Generation, State, StoreEntry
from provision.errors import FabricError
from provision.host.layout import Layout
from provision.host.part import untouched

IDLE_S = 86400.0  # what nobody has gone on with for a day was given up
_OUR_NAMES = {Kind.ENGINE.value: r"[a-z]+-.+-[0-9a-f]{12}", Kind.MODEL.value: r"[0-9a-f]{64}\.(gguf|safetensors)"}


@frozen
class Garbage:
    """One thing that is to go: what it is, where it lies, and why it is not needed."""

    kind: str
    name: str
    path: Path
    reason: str

    @property
    def size_bytes(self) -> int:
        """What its files hold."""
        return sum(status.st_size for status in _files(self.path))


@frozen
class Marked:
    """What goes, and the ``state`` that knows no more of it.

    ``kept`` are the numbers of the generations that stay, ``models`` the models that stay because the user has pulled
    them, ``strangers`` what lies in the store and was not made by fabric: that stays as well.
    """

    garbage: tuple[Garbage, ...]
    state: State
    kept: tuple[int, ...]
    models: tuple[str, ...]
    strangers: tuple[Path, ...]


@frozen
class Mark:
    """Tells what is live and what is not: the ``keep`` newest generations are, and the one that is ``running``.

    So are the ``keep`` newest that have served and differ, so that a failure takes none of them. With
    ``pulled_models`` those go as well that the user has pulled. ``now_s`` is in seconds since the epoch.
    """

    layout: Layout
    state: State
    keep: int
    running: int | None
    pulled_models: bool
    now_s: float

    def marked(self) -> Marked:
        """Return what goes. Raises ``FabricError`` where it cannot be told what is needed."""
        kept = self._kept()
        numbers = {each.number for each in kept}
        needed = {key for each in kept for key in each.needs} | {*self.state.in_use}
        unneeded = [entry for entry in self.state.entries.values() if entry.key not in needed]
        pulled = [] if self.pulled_models else [entry for entry in unneeded if _was_pulled(entry)]
        going = [entry for entry in unneeded if entry not in pulled]
        unrecorded, strangers = self._unrecorded()
        garbage = (
            *(self._entry(entry) for entry in going if entry.kind != Kind.CONFIG.value),
            *unrecorded,
            *(Garbage("generation", path.name, path, "older") for path in files_besides(numbers, self.layout)),
            *self._engine_directories(kept),
            *self._unfinished(),
        )
        gone = {entry.key for entry in going}
        left = {key: entry for key, entry in self.state.entries.items() if key not in gone}
        state = replace(self.state, entries=left, generations=kept)
        return Marked(garbage, state, tuple(sorted(numbers)), tuple(entry.name for entry in pulled), tuple(strangers))

    def _kept(self) -> tuple[Generation, ...]:
        history = self.state.history
        recalled = worth_keeping(history, self.keep)
        if self.running is not None and self.state.known_generation(self.running) is None:
            raise FabricError(
                f"The server runs generation {self.running}, of which nothing is recorded: what it needs is not known. "
                "Nothing was removed.",
                "Run `fabric up` first.",
            )
        return tuple(each for each in history if each in recalled or each.number == self.running)

    def _entry(self, entry: StoreEntry) -> Garbage:
        path = self.layout.prefix / entry.path
        return Garbage(entry.kind, entry.name, path, "no generation that is kept needs it")

    def _unrecorded(self) -> tuple[list[Garbage], list[Path]]:
        """Return what a killed run has left in the store, by its name, and what is somebody else's."""
        ours, strangers = list[Garbage](), list[Path]()
        for kind, path in unrecorded(self.layout, self.state.entries.values()):
            if re.fullmatch(_OUR_NAMES[kind.value], path.name):
                ours.append(Garbage(kind.value, path.name, path, "a run that was killed has left it"))
            else:
                strangers.append(path)
        return ours, strangers

    def _engine_directories(self, kept: Iterable[Generation]) -> Iterator[Garbage]:
        """Yield what engines keep themselves, and interpreters, where no generation uses them."""
        selections = [each.selection for each in kept]
        used = {selection.backend for selection in selections}
        for path in _inside(self.layout.engine_states):
            if path.name not in used:
                yield Garbage("engine-state", path.name, path, "no generation that is kept uses that engine")
        if not any(selection.release.python for selection in selections):
            for path in _inside(self.layout.python):
                yield Garbage("interpreter", path.name, path, "no engine that is kept needs it")

    def _unfinished(self) -> Iterator[Garbage]:
        """Yield what was begun and is finished or given up, and what was set aside for a look at it."""
        idle = [*untouched(self.layout.builds, self.now_s, IDLE_S)]
        for path in _inside(self.layout.builds):
            if path.name in self.state.entries or path in idle:
                reason = "it is compiled and installed" if path.name in self.state.entries else "nobody goes on with it"
                yield Garbage("build", path.name, path, reason)
        for path in untouched(self.layout.partial, self.now_s, IDLE_S):
            yield Garbage("partial", path.name, path, "nobody goes on with it")
        for path in _inside(self.layout.quarantine):
            yield Garbage("quarantine", path.name, path, "`fabric verify --repair` has set it aside")


def freed_bytes(garbage: Iterable[Garbage]) -> int:
    """Return what the disk gets back: nothing for a file that keeps another name."""
    seen: dict[tuple[int, int], list[os.stat_result]] = {}
    for each in garbage:
        for status in _files(each.path):
            seen.setdefault((status.st_dev, status.st_ino), []).append(status)
    return sum(names[0].st_size for names in seen.values() if len(names) >= names[0].st_nlink)


def _was_pulled(entry: StoreEntry) -> bool:
    """Tell whether the user has asked for this very model; older versions did not say, and then it stays."""
    return entry.kind == Kind.MODEL.value and (bool(entry.known_as) if entry.pulled is None else entry.pulled)


def _inside(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _files(path: Path) -> Iterator[os.stat_result]:
    if path.is_symlink() or path.is_file():
        yield path.lstat()
        return
    for directory, _, names in os.walk(path):
        for name in names:
            yield Path(directory, name).lstat()
