"""What fabric made in its prefix: the record that ownership rests on."""

from __future__ import annotations

from dataclasses import dataclass, field

from provision.domain.model import Model
from provision.domain.selection import Selection

STATE_VERSION = 1


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class StoreEntry:
    """One installed tree or blob, by its content key. ``path`` is relative to the prefix.

    ``follows_links`` says that links were recorded as what they lead to, and not as themselves. ``known_as`` are the
    wishes, names or references, that led to a model, and how it was described for each.
    """

    kind: str
    name: str
    key: str
    path: str
    files: tuple[StoredFile, ...]
    size_bytes: int
    follows_links: bool = False
    known_as: dict[str, Model] = field(default_factory=dict)


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class State:
    """``lineage`` is the prefix's own id, ``serial`` grows with every change.

    ``entries`` are all installed things by their key, ``in_use`` the keys of those that the server needs now.
    ``tried`` are the releases, references and places that failed, with the reason, when ``selection`` was chosen;
    ``unfit`` those of them that were there and did not run here, which are not tried again until that is asked for.
    ``written_files`` are files that older versions wrote as a whole; ``config_files`` replaces it.
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
