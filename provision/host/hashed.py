"""Hashes of the user's files, noted in a directory of ours, so that a large file is not read at every command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec

from provision.domain.frozen import frozen
from provision.host.files import commit, make_private_dir
from provision.host.json_document import decoded
from provision.host.reading import read_private, sha256_of_file

NOTE = "hashed.json"


@frozen
class Hashed:
    """A file as it was when it was hashed."""

    path: str
    size_bytes: int
    modified_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path, sha256: str) -> Hashed:
        """Return what a file is now, whose hash is known. Raises ``OSError``."""
        status = path.stat()
        return cls(str(path), status.st_size, status.st_mtime_ns, sha256)


def hash_file(path: Path) -> Hashed:
    """Read a file and return its hash, with the time that it had before. Raises ``OSError``."""
    before = Hashed.of(path, "")  # whoever writes to it meanwhile changes its time
    return replace(before, sha256=sha256_of_file(path))


def note(directory: Path, hashed: Hashed) -> None:
    """Note the hash of one file; what was noted before is forgotten. Raises ``OSError``."""
    make_private_dir(directory)
    commit(directory / NOTE, msgspec.json.encode(hashed))


def noted_hash(directory: Path, path: Path) -> str | None:
    """Return the SHA-256 of a file, where it is noted and the file is still what was hashed; else ``None``."""
    data = read_private(directory / NOTE)
    try:
        noted = decoded(data, Hashed) if data else None
    except msgspec.MsgspecError:
        return None
    return noted.sha256 if noted and path.is_file() and noted == Hashed.of(path, noted.sha256) else None
