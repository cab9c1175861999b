"""Every captured machine under tests/hosts, against what is known of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from provision.facts.detect import detect
from provision.host.replay import ReplayMachine

HOSTS = sorted(path for path in (Path(__file__).parents[2] / "hosts").iterdir() if path.is_dir())


def differences(expected: object, actual: object, where: str = "facts") -> list[str]:
    """Return where ``actual`` differs from the subset that is ``expected``."""
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        return [line for key in expected for line in differences(expected[key], actual.get(key), f"{where}.{key}")]
    if isinstance(actual, tuple):
        actual = list(actual)
    return [] if expected == actual else [f"{where}: expected {expected!r}, got {actual!r}"]


@pytest.mark.parametrize("host", HOSTS, ids=lambda path: path.name)
def test_captured_machine(host: Path) -> None:
    expected: dict[str, Any] = json.loads((host / "expected.json").read_text(encoding="utf-8"))
    facts = detect(ReplayMachine(host, strict=True), "/prefix")
    assert differences(expected["facts"], asdict(facts)) == []
    assert sorted(finding.code for finding in facts.findings) == expected["findings"]
    assert {probe.name: probe.outcome.value for probe in facts.probes} == expected["probes"]
    assert [name for name in expected["isa_has"] if name not in facts.cpu.isa] == []
    assert [name for name in expected["isa_lacks"] if name in facts.cpu.isa] == []
    assert facts.disk.path == "/prefix"


def test_a_wrong_expectation_is_noticed() -> None:
    actual = {"os": {"wsl": None}, "isa": ("a", "b")}
    assert differences({"os": {"wsl": None}, "isa": ["a", "b"]}, actual) == []
    assert differences({"os": {"wsl": 2}, "isa": ["a"]}, actual) == [
        "facts.os.wsl: expected 2, got None",
        "facts.isa: expected ['a'], got ['a', 'b']",
    ]


def test_every_kind_of_machine_is_there() -> None:
    systems = Counter(host.name.split("-")[0] for host in HOSTS)
    assert systems["linux"] >= 8
    assert systems["darwin"] >= 1
