"""Captured machines with nonsense in some files and answers: never an error, never a hang, always a choice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from provision.choosing import read_knowledge
from provision.domain.facts import Outcome
from provision.domain.spec import Spec
from provision.facts.detect import detect
from provision.host.machine import Command, CommandResult
from provision.host.replay import ReplayMachine
from provision.select.choose import Chooser

HOSTS = sorted((Path(__file__).parents[2] / "hosts").iterdir())
KNOWLEDGE = read_knowledge()
PAGE = "<!DOCTYPE html><html><head><title>Sign in</title></head></html>"

noise = st.binary(max_size=60).map(lambda data: data.decode("utf-8", errors="replace"))
nonsense = noise | st.sampled_from(["", "\0", "-1", "9" * 400, "0x" + "f" * 40, PAGE, "[" * 5000, "nan", "a: b\n" * 50])
answers = st.builds(CommandResult, st.sampled_from([0, 0, 1, 124, 127, 255, -6, -9, -11]), nonsense, nonsense)


class SpoiledMachine(ReplayMachine):
    """A captured machine of which some texts and answers are something else; ``None`` is a file that went away."""

    def __init__(self, directory: Path, texts: Mapping[str, str | None], results: Mapping[int, CommandResult]) -> None:
        super().__init__(directory)
        self._texts, self._spoiled, self._asked = texts, results, 0

    def read_text(self, path: str) -> str | None:
        return self._texts[path] if path in self._texts else super().read_text(path)

    def run(self, command: Command) -> CommandResult:
        self._asked += 1
        return self._spoiled.get(self._asked) or super().run(command)


def texts_of(host: Path) -> list[str]:
    """Return the paths of all texts of a capture, as the machine has them."""
    root = host / "root"
    return sorted(
        f"/{path.relative_to(root)}" for path in root.rglob("*") if path.is_file() and path.name != ".gitkeep"
    )


@st.composite
def spoiled_machines(draw: st.DrawFn) -> SpoiledMachine:
    host = draw(st.sampled_from(HOSTS))
    paths = texts_of(host)
    chosen = draw(st.lists(st.sampled_from(paths), max_size=4)) if paths else []
    texts = {path: draw(st.none() | nonsense) for path in chosen}
    results = draw(st.dictionaries(st.integers(1, 6), answers, max_size=3))
    return SpoiledMachine(host, texts, results)


@settings(max_examples=400)
@given(spoiled_machines())
def test_a_machine_with_nonsense_in_it_is_still_a_machine(machine: SpoiledMachine) -> None:
    facts = detect(machine, "/prefix")
    choice = Chooser(Spec(), facts, None, KNOWLEDGE, 8080).choose()
    assert (choice.selection is None) != (choice.refusal is None)
    assert all(probe.detail for probe in facts.probes if probe.outcome is not Outcome.OK)
    assert json.dumps([finding.fix for finding in facts.findings])
    for gpu in facts.gpus:
        sizes = (gpu.memory.total_bytes, gpu.memory.free_bytes)
        assert all(size is None or 0 <= size < 1 << 60 for size in sizes)
        assert bool(gpu.apis) or gpu.state.value != "usable"


def test_the_captures_are_read_as_they_are_without_nonsense() -> None:
    """Or the test above would prove nothing."""
    for host in HOSTS[:5]:
        spoiled, plain = (detect(machine, "/p") for machine in (SpoiledMachine(host, {}, {}), ReplayMachine(host)))
        assert replace(spoiled, probes=()) == replace(plain, probes=())
