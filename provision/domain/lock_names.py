"""The names in a lock that become paths: a lock is a file that may come from anybody."""

from __future__ import annotations

import re
from collections.abc import Iterator

from provision.domain.lock import Lock, LockedPlatform, every_wheel, members
from provision.domain.safe_name import is_safe_name, is_safe_path, shown
from provision.errors import InvalidInputError

_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_names(lock: Lock, name: str) -> None:
    """Raise ``InvalidInputError`` for the first name in a lock, itself called ``name``, that could leave its place."""
    for locked in lock.platforms.values():
        for what, said in _unsafe(locked):
            raise InvalidInputError(
                f"{name} cannot be used: {shown(said)} is not {what} that a lock can have.",
                "Nothing was changed. Make it anew with `fabric lock`, and look where this one came from.",
            )


def _unsafe(locked: LockedPlatform) -> Iterator[tuple[str, str]]:
    release, model = locked.release, locked.model
    wheels, taken = every_wheel(release, model), members(release, model)
    names = [*(wheel.filename for wheel in wheels), *(library.name for library in release.libraries)]
    names += [f"{release.engine}-{release.version}", f"model.{model.format}"]  # parts of directories' and files' names
    paths = [*(member.path for member in taken), *(file.path for file in (*release.files, *model.files))]
    hashes = [model.sha256, *(wheel.sha256 for wheel in wheels), *(member.sha256 for member in taken)]
    hashes += [file.sha256 for file in (*release.files, *model.files)]
    yield from (("a file name", each) for each in names if not is_safe_name(each))
    yield from (("a path", each) for each in paths if not is_safe_path(each))
    yield from (("a SHA-256", each) for each in hashes if each and not _SHA256.fullmatch(each))  # empty is missing
