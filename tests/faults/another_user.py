"""The command run by a user who has no name and is not root, wherever the interpreter of these tests lies."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.faults.mounts import inside
from tests.standin.command import Fabric

UNKNOWN_USER = 54321
# The command may read the checkout and the files of the test, wherever they are. The engine that it starts may not.
AS_NOBODY = (
    *("setpriv", f"--reuid={UNKNOWN_USER}", f"--regid={UNKNOWN_USER}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)


@contextmanager
def another_user(quick: Fabric, theirs: Path) -> Iterator[Fabric]:
    """Give the command as that user runs it, with its home and its prefix in ``theirs``, a directory of a test."""
    os.chown(theirs, UNKNOWN_USER, UNKNOWN_USER)
    for parent in theirs.parents[:4]:  # pytest's own, which it keeps to itself: one more where tests run side by side
        if not parent.stat().st_mode & stat.S_IXOTH:
            parent.chmod(0o711)
    with inside(quick, interpreter_for_all(Path(sys.base_prefix)), quick.home) as hidden:
        join = hidden.fabric.program[: -len(quick.program)]
        yield replace(quick, program=(*join, *AS_NOBODY, *quick.program), prefix=theirs / "prefix", home=theirs)


def interpreter_for_all(base: Path) -> str:
    """Return a script that lets everybody reach the interpreter, where a directory above it is closed."""
    closed = [parent for parent in base.parents if not parent.stat().st_mode & stat.S_IXOTH]
    if not closed:
        return "true"
    way, top = shlex.quote(str(base)), shlex.quote(str(closed[-1]))
    return (
        f"mount --bind {way} /mnt && mount -t tmpfs -o mode=755 none {top} && mkdir -p {way} && mount --bind /mnt {way}"
    )
