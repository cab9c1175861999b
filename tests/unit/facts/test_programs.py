from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from provision.facts.programs import ask
from provision.host.machine import Command, CommandResult, Machine

Imagine = Callable[..., Machine]

TOOL = ("tool", "--all")


def told(imagine: Imagine, result: CommandResult) -> str | None:
    return ask(imagine(results={TOOL: result}), TOOL, "/opt/tool/bin")


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (CommandResult(0, "yes\n", "noise"), "yes\n"),
        (CommandResult(0), ""),
        (CommandResult(1, "refused\n"), "refused\n"),
        (CommandResult(127, "", "not found"), None),
    ],
    ids=["an answer", "an empty one", "a refusal in words", "not installed"],
)
def test_what_is_printed_is_the_answer(result: CommandResult, text: str | None, imagine: Imagine) -> None:
    assert told(imagine, result) == text


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (CommandResult(-11, "half an ans"), "^tool was ended by signal 11$"),
        (CommandResult(3, "\n", "no such option\n"), "^tool ended with 3: no such option$"),
        (CommandResult(126, "", "Permission denied"), "^tool ended with 126: Permission denied$"),
    ],
)
def test_a_program_that_fails_in_silence_has_failed(result: CommandResult, words: str, imagine: Imagine) -> None:
    with pytest.raises(ValueError, match=words):
        told(imagine, result)


def test_a_program_that_hangs_is_told_apart(imagine: Imagine) -> None:
    with pytest.raises(TimeoutError, match=r"^tool: no answer within 10 s$"):
        told(imagine, CommandResult(124, "", "no answer within 10 s"))


@pytest.mark.parametrize(
    ("env", "path"),
    [({"PATH": "/bin"}, "/bin:/opt/tool/bin"), ({}, "/usr/local/bin:/usr/bin:/bin:/opt/tool/bin")],
    ids=["after PATH", "after the usual places"],
)
def test_the_vendor_s_own_directory_is_searched_last(env: Mapping[str, str], path: str) -> None:
    asked: list[Command] = []

    class Watched:
        def __init__(self) -> None:
            self.env = env

        def run(self, command: Command) -> CommandResult:
            asked.append(command)
            return CommandResult(127)

    assert ask(Watched(), TOOL, "/opt/tool/bin") is None  # type: ignore[arg-type]
    assert asked == [Command(TOOL, 10.0, {"PATH": path})]
