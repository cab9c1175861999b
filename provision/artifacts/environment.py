"""An environment without a trace of where, when and by which Python it was made: the same bytes on every machine."""

from __future__ import annotations

import os
from pathlib import Path

from provision.host.new_tree import DIRECTORY, FILE, PROGRAM

CONFIGURATION = "pyvenv.cfg"
_MADE_HERE = ("direct_url.json", "uv_cache.json", "uv_build.json", "INSTALLER", "REQUESTED")
_FOR_SHELLS = ("activate*", "deactivate*", "pydoc.bat", "conda_activate*")


def settle(environment: Path) -> str:
    """Take out of a finished environment what differs from machine to machine; return where its Python comes from.

    That is left in one place only: ``bin/python`` is a link to the interpreter. What installers note about
    themselves goes, with its lines in the lists of installed files, and so do the scripts for shells. Files become
    0644 or 0755 and directories 0755, whatever the umask.
    """
    for pattern in _FOR_SHELLS:
        for script in environment.glob(f"bin/{pattern}"):
            script.unlink()
    for note in (*environment.glob("lib/*/site-packages/_virtualenv.*"), environment / ".lock"):
        note.unlink(missing_ok=True)
    for information in environment.glob("lib/*/site-packages/*.dist-info"):
        _forget_installer(information)
    lines = (environment / CONFIGURATION).read_text(encoding="utf-8").splitlines()
    told = dict(part for line in lines if len(part := [each.strip() for each in line.split("=", 1)]) == 2)
    configure(environment, None)
    _equal_modes(environment)
    return str(told.get("home", ""))


def configure(environment: Path, home: str | None) -> None:
    """Write what Python reads of an environment. ``home`` is where it finds its library, if not through the link."""
    lines = [*([f"home = {home}"] if home else []), "include-system-site-packages = false"]
    (environment / CONFIGURATION).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _forget_installer(information: Path) -> None:
    notes = [note for name in _MADE_HERE if (note := information / name).exists()]
    record = information / "RECORD"
    if record.exists():
        gone = tuple(f"{information.name}/{note.name}," for note in notes)
        lines = [line for line in record.read_text(encoding="utf-8").splitlines() if not line.startswith(gone)]
        record.write_text("".join(f"{line}\n" for line in sorted(lines)), encoding="utf-8")
    for note in notes:
        note.unlink()


def _equal_modes(tree: Path) -> None:
    for directory, _, names in os.walk(tree):
        Path(directory).chmod(DIRECTORY)
        for name in names:
            path = Path(directory, name)
            if not path.is_symlink():
                path.chmod(PROGRAM if path.stat().st_mode & 0o111 else FILE)
