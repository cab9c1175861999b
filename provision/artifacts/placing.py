"""Giving finished parts their names: all of them, or none."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from provision.host.files import PRIVATE_FILE, explained, make_private_dir, sync
from provision.host.part import Part, opened

Undo = list[Callable[[], object]]


def place_all(parts: Path, keys: Mapping[Path, str], go_on: Callable[[], None]) -> None:
    """Give the part of each key every name that it is listed under.

    Where one of them cannot be placed, all parts lie in ``parts`` again for the next run, and at each name is what was
    there before.
    """
    last = {key: target for target, key in keys.items()}
    undo: Undo = []
    set_aside: list[Path] = []
    try:
        for target, key in keys.items():
            with opened(parts, key, go_on) as part, explained(f"storing {target}"):
                set_aside += _set_aside(target, undo)
                _place(part, target, undo, is_last=target == last[key])
    except BaseException:
        for step in reversed(undo):
            with suppress(OSError):
                step()
        raise
    for path in set_aside:
        with suppress(OSError):
            path.unlink()


def _set_aside(target: Path, undo: Undo) -> list[Path]:
    if not os.path.lexists(target):
        return []
    if target.is_dir() and not target.is_symlink():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    aside = target.with_name(f".{target.name}.old-{os.getpid()}")
    target.replace(aside)
    undo.append(partial(aside.replace, target))
    return [aside]


def _place(part: Part, target: Path, undo: Undo, *, is_last: bool) -> None:
    """Rename the part to its last name; for those before, copy it."""
    if is_last:
        part.place(target)
        undo.append(partial(target.replace, part.path))
        return
    if not target.parent.is_dir():
        make_private_dir(target.parent)
    undo.append(partial(target.unlink, missing_ok=True))
    shutil.copyfile(part.path, target)
    target.chmod(PRIVATE_FILE)
    sync(target)
