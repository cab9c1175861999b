"""What suits every captured machine best, against what the reference of detection says of such a machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from provision.choosing import read_knowledge
from provision.domain.spec import Spec
from provision.facts.stored import read_facts
from provision.planner import plan_from_nothing
from provision.select.choose import Choice, Chooser

GIB = 1 << 30
HOSTS = Path(__file__).parents[2] / "hosts"
KNOWLEDGE = read_knowledge()


def expectations(*keys: str) -> list[Any]:
    """Return every machine that has an expectation under these nested keys, with it."""
    found = []
    for host in sorted(HOSTS.iterdir()):
        expected = json.loads((host / "expected.json").read_text(encoding="utf-8"))
        for key in keys:
            expected = (expected or {}).get(key)
        if expected is not None:
            found.append(pytest.param(host, expected, id=host.name))
    return found


def choice(host: Path, spec: Spec) -> Choice:
    return Chooser(spec, read_facts(host), None, KNOWLEDGE, 8080).choose()


def check(made: Choice, expected: dict[str, Any]) -> None:
    best, wanted = made.recommended, expected["recommended"]
    assert best is not None
    assert best.acceleration == wanted["acceleration"]
    assert best.backend in expected.get("accepted_backends", [wanted["backend"]])
    if "budget_gib" in expected:
        usable, bounds = best.fit.budget_bytes, expected["budget_gib"]
        assert (usable is None) == (bounds is None)
        assert bounds is None or bounds[0] <= (usable or 0) / GIB <= bounds[1]


@pytest.mark.parametrize(("host", "expected"), expectations("choice"))
def test_the_choice_for_a_captured_machine(host: Path, expected: dict[str, Any]) -> None:
    check(choice(host, Spec()), expected)


@pytest.mark.parametrize(("host", "expected"), expectations("choice", "server"))
def test_the_choice_for_a_captured_machine_that_serves_many(host: Path, expected: dict[str, Any]) -> None:
    check(choice(host, Spec(profile="server")), expected)


@pytest.mark.parametrize("host", sorted(HOSTS.iterdir()), ids=lambda host: host.name)
def test_every_captured_machine_gets_a_plan_or_a_reason(host: Path) -> None:
    made = choice(host, Spec())
    if made.selection is None:
        assert made.refusal is not None
        assert made.refusal.hint
    else:
        assert plan_from_nothing(made, read_facts(host)).changed
        assert set(made.selection.why_not) == {"ollama", "llamacpp", "vllm", "external"} - {made.selection.backend}


def test_nearly_every_captured_machine_has_an_expectation() -> None:
    assert len(expectations("choice")) >= 80
