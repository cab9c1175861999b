"""A command that sees other file systems than everybody else: it joins a mount namespace; needs root."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.standin.command import Fabric


@dataclass(frozen=True)
class Inside:
    """``fabric`` runs in the namespace of process ``holder``."""

    fabric: Fabric
    holder: int

    @property
    def prefix(self) -> Path:
        """The prefix, as it is seen from here."""
        return Path(f"/proc/{self.holder}/root") / self.fabric.prefix.relative_to("/")

    @property
    def seen_from_here(self) -> Fabric:
        """The same command, of which tests look at the files."""
        return replace(self.fabric, prefix=self.prefix)

    def mount(self, *words: str) -> None:
        """Mount something else in it."""
        argv = ["nsenter", f"--mount=/proc/{self.holder}/ns/mnt", "mount", *words]
        subprocess.run(argv, check=True)


@contextmanager
def inside(fabric: Fabric, script: str, place: Path) -> Iterator[Inside]:
    """Run ``script`` at ``place`` in a new mount namespace, and give ``fabric`` in it.

    Skips the test where such a namespace cannot be made.
    """
    if not (shutil.which("unshare") and shutil.which("nsenter")):
        pytest.skip("needs unshare and nsenter")
    argv = ["unshare", "-m", "sh", "-c", f"{script} && echo mounted && read _"]
    with subprocess.Popen(
        argv, cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as holder:
        assert holder.stdout is not None
        said = holder.stdout.readline().strip()
        if said != "mounted":
            pytest.skip(f"cannot mount here: {said}")
        join = ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", f"--wd={fabric.home}")
        yield Inside(replace(fabric, program=(*join, *fabric.program)), holder.pid)
