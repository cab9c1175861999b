"""What fabric made in its prefix: the record that ownership rests on."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Any

from provision.domain.frozen import frozen
from provision.domain.model import Model
from provision.domain.place import Place
from provision.domain.selection import Selection

STATE_VERSION = 1
ROLLBACK = "rollback"


@frozen
class StoredFile:
    """A file of a store entry as it was when it was verified: size in bytes, modification time in ns.

    ``mode`` are its permission bits, ``sha256`` is that of its content, of a link that of where it leads. Both are
    ``None`` in records of older versions.
    """

    path: str
    size_bytes: int
    modified_ns: int
    mode: int | None = None
    sha256: str | None = None


@frozen
class StoreEntry:
    """One installed tree or blob, by its content key. ``path`` is relative to the prefix.

    ``follows_links`` says that links were recorded as what they lead to, and not as themselves. ``known_as`` are the
    wishes, names or references, that led to a model, and how it was described for each. ``pulled`` says that the user
    asked for a model without serving it, so that it stays until they say otherwise; ``None`` in records of older
    versions, which did not tell.
    """

    kind: str
    name: str
    key: str
    path: str
    files: tuple[StoredFile, ...]
    size_bytes: int
    follows_links: bool = False
    known_as: dict[str, Model] = field(default_factory=dict)
    pulled: bool | None = None


@frozen
class Generation:
    """A configuration that was made, with all that it takes to bring it back.

    ``needs`` are the keys of the store entries that it is made of. ``made_at`` is in seconds since the epoch, ``verb``
    the command that made it: ``auto-rollback`` where a server that did not serve gave way to this one. ``restores`` is
    the number of the one that it is equal to, where it was made to bring that back. ``was_ready`` says that it has
    served, and passed the smoke test where that was asked for; ``log`` is where the log of one lies that did not.
    """

    number: int
    selection: Selection
    needs: tuple[str, ...] = ()
    made_at: float | None = None
    verb: str | None = None
    restores: int | None = None
    was_ready: bool = False
    log: str | None = None


@frozen
class ConfigFile:
    """A configuration that was written into a file of the user's, by the absolute path of that file.

    ``format`` is the name of its template, ``syntax`` how it was merged. ``ours`` is the copy of what was rendered and
    ``before`` that of what stood there without it, ``None`` where there was no file; both are names inside the prefix.
    ``known`` are the SHA-256 of what was written and of what it took the place of: a file that has one of them was not
    edited since. ``made_parents`` are the directories that were made for it, nearest first.
    """

    path: str
    format: str
    syntax: str
    ours: str
    before: str | None
    known: tuple[str, ...]
    made_parents: tuple[str, ...] = ()


@frozen
class ServiceUnit:
    """The file by which a service manager of the user's keeps our server running, by its absolute path.

    ``service`` is the manager, ``name`` what it calls the service. ``known`` are the SHA-256 of what was written and of
    what of ours it took the place of. ``lingers`` says that we turned lingering on. ``made_parents`` are the
    directories that were made for the file, nearest first.
    """

    service: str
    name: str
    path: str
    known: tuple[str, ...]
    lingers: bool = False
    made_parents: tuple[str, ...] = ()


@frozen
class State:
    """``lineage`` is the prefix's own id, ``serial`` grows with every change, ``host`` is the machine that it is for.

    ``entries`` are all installed things by their key, ``in_use`` the keys of those that the server needs now.
    ``tried`` are the releases, references and places that failed, with the reason, when ``selection`` was chosen;
    ``unfit`` those of them that were there and did not run here, which are not tried again until that is asked for.
    ``written_files`` are files that older versions wrote as a whole; ``config_files`` replaces it. ``generations`` are
    those that are still known, oldest first; ask ``history``, because older versions did not record them. ``unit`` is
    what was told to a service manager, ``None`` where the supervisor is started by fabric itself.
    ``place`` is where the prefix lay when this was written; ``None`` in records of older versions.
    """

    lineage: str
    serial: int = 0
    version: int = STATE_VERSION
    fabric_version: str = ""
    generation: int = 0
    selection: Selection | None = None
    entries: dict[str, StoreEntry] = field(default_factory=dict)
    in_use: tuple[str, ...] = ()
    tried: dict[str, str] = field(default_factory=dict)
    unfit: dict[str, str] = field(default_factory=dict)
    written_files: tuple[str, ...] = ()
    config_files: tuple[ConfigFile, ...] = ()
    generations: tuple[Generation, ...] = ()
    unit: ServiceUnit | None = None
    host: str | None = None
    place: Place | None = None

    @property
    def history(self) -> tuple[Generation, ...]:
        """The generations that are known, oldest first; the last is the current one."""
        if self.selection is None or any(each.number == self.generation for each in self.generations):
            return self.generations
        needs = tuple(key for key in self.in_use if key != str(self.generation))
        return (*self.generations, Generation(self.generation, self.selection, needs))

    @property
    def current(self) -> Generation | None:
        """The generation that is configured now."""
        return self.history[-1] if self.history else None

    def undone_by(self, selection: Selection) -> int | None:
        """Return the generation that the user has brought back, where serving ``selection`` undoes that."""
        current = self.current
        if current is None or current.verb != ROLLBACK or selection.is_served_like(current.selection):
            return None
        return current.restores

    def known_generation(self, number: int) -> Generation | None:
        """Return a generation by its number, where it is still known."""
        return next((each for each in self.history if each.number == number), None)

    def noting(self, number: int, **noted: Any) -> State:
        """Return the state that knows more of one generation."""
        revised = (replace(each, **noted) if each.number == number else each for each in self.history)
        return replace(self, generations=tuple(revised))

    @property
    def is_remote(self) -> bool:
        """Whether somebody else runs what is served."""
        return self.selection is not None and self.selection.is_remote

    @property
    def ours(self) -> Selection | None:
        """What our own server serves; nothing of somebody else's is ours."""
        return None if self.is_remote else self.selection

    @property
    def known_models(self) -> dict[str, Model]:
        """The models of the store by the wishes that led to them."""
        return {wish: model for entry in self.entries.values() for wish, model in entry.known_as.items()}
