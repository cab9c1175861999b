"""Proving that an engine runs here before it is used: better now than when the server starts."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

from provision.domain.engine import Launch
from provision.domain.selection import Selection
from provision.domain.visible import visible
from provision.engines.engine import Engine
from provision.engines.exits import decode
from provision.errors import FabricError
from provision.host.program import CommandResult

MAX_SAID_CHARACTERS = 300


class EngineUnfitError(FabricError):
    """The installed engine does not start on this machine; nothing of it was kept. ``release`` names it."""

    code = "engine-unfit"

    def __init__(self, release: str, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.release = release


def prove(
    engine: Engine, selection: Selection, tree: Path, staging: Path, run: Callable[[Launch], CommandResult]
) -> str | None:
    """Try the engine in ``tree`` out, and keep there what its trials print and it is started by.

    Returns the version that it says it has, ``None`` where it says none. Raises ``EngineUnfitError`` with the reason
    in words where it is not for this machine, does not start, or is not what it should be.
    """
    release = selection.release
    why = _why_not_for_this_machine(engine, selection, tree)
    if why:
        raise _unfit(selection, why, None)
    trials = engine.preflight(release, tree, staging)
    for trial in trials:
        result = run(trial.launch)
        if result.returncode != 0:
            ended = decode(result.returncode, result.stderr, engine.failures())
            said = _last_line(result.stderr)
            raise _unfit(selection, ended.reason + (f" ({said})" if said else ""), ended.hint)
        if trial.kept_as:
            (tree / trial.kept_as).write_text(result.stdout + result.stderr, encoding="utf-8")
    why = engine.why_unfit(selection, tree)
    if why:
        raise _unfit(selection, why, None)
    version = engine.said_version(tree)
    for trial in trials:
        if trial.kept_as and not trial.lasting:
            (tree / trial.kept_as).unlink()
    return version


def _last_line(text: str) -> str:
    """Return the last that a program said, without what a terminal would obey."""
    last = text.strip().splitlines()[-1:] or [""]
    return visible(last[0], kept="")[:MAX_SAID_CHARACTERS].strip()


def _why_not_for_this_machine(engine: Engine, selection: Selection, tree: Path) -> str:
    """Return what the program's own header says against it: that is clearer than how it ends."""
    from provision.artifacts.elf import why_not_runnable

    release = selection.release
    program = engine.program(release, tree)
    if program is None:
        return ""
    return why_not_runnable(program, release.arch or platform.machine(), release.system or platform.system())


def _unfit(selection: Selection, reason: str, hint: str | None) -> EngineUnfitError:
    release = selection.release
    return EngineUnfitError(
        release.name,
        f"{release.engine} {release.version} ({release.source}) does not run on this machine: {reason}.",
        hint or "See `fabric doctor`.",
    )
