"""What a program that does not run here leads to."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from provision.apply.preflight import EngineUnfitError, prove
from provision.domain.engine import EngineRelease, Launch, Trial
from provision.domain.selection import Selection
from provision.engines.llamacpp import LlamaCpp
from provision.host.program import CommandResult
from tests.standin.selections import select_for_small_machine

SELECTION = select_for_small_machine()


class Program(LlamaCpp):
    """One program file and two trials, of which one prints what lasts."""

    def program(self, release: EngineRelease, engine: Path) -> Path:
        return engine / "program"

    def preflight(self, release: EngineRelease, engine: Path, generation: Path) -> Sequence[Trial]:
        program = str(engine / "program")
        return [
            Trial(Launch((program, "--version"), {}), "version.txt"),
            Trial(Launch((program, "--help"), {}), "help.txt", lasting=True),
        ]

    def why_unfit(self, selection: Selection, engine: Path) -> str:
        return "too old" if "old" in (engine / "version.txt").read_text(encoding="utf-8") else ""


def tried(tree: Path, result: CommandResult) -> list[Launch]:
    """Return the trials that were run; each ends with ``result``."""
    shutil.copy("/bin/sh", tree / "program")
    ran: list[Launch] = []

    def run(launch: Launch) -> CommandResult:
        ran.append(launch)
        return result

    prove(Program(), SELECTION, tree, tree, run)
    return ran


def test_of_what_the_trials_print_only_what_is_needed_later_is_kept(tmp_path: Path) -> None:
    assert len(tried(tmp_path, CommandResult(0, "out\n", "err\n"))) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"program", "help.txt"}
    assert (tmp_path / "help.txt").read_text(encoding="utf-8") == "out\nerr\n"


def test_the_error_names_the_release_and_holds_nothing_that_a_terminal_obeys(tmp_path: Path) -> None:
    with pytest.raises(EngineUnfitError) as raised:
        tried(tmp_path, CommandResult(7, "", f"first\n\x1b[31mred\x07 {'x' * 1000}\n"))
    assert raised.value.release == SELECTION.release.name
    assert "status 7" in raised.value.message
    assert raised.value.message.isprintable()
    assert "(red\N{REPLACEMENT CHARACTER} x" in raised.value.message
    assert len(raised.value.message) < 600


def test_what_its_trials_left_may_speak_against_it(tmp_path: Path) -> None:
    with pytest.raises(EngineUnfitError, match="too old"):
        tried(tmp_path, CommandResult(0, "an old one", ""))


def test_a_program_for_another_machine_is_not_even_started(tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(b"MZ")
    with pytest.raises(EngineUnfitError, match="not a program for this system"):
        prove(Program(), SELECTION, tmp_path, tmp_path, lambda _: pytest.fail("it was started"))
