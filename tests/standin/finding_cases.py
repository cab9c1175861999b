"""Facts for the cases in tests/cases/findings: a healthy machine, with what a case says laid over it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from provision.domain.facts import Facts

CASES = Path(__file__).parents[1] / "cases" / "findings"
TOPICS = ("nvidia", "amd", "intel", "vulkan", "limits", "system")


def read_json(name: str) -> Any:
    """Return the parsed file of that name."""
    return json.loads((CASES / f"{name}.json").read_text(encoding="utf-8"))


SYSTEMS: dict[str, Any] = read_json("systems")
GPUS: dict[str, Any] = read_json("gpus")


def lay_over(base: Any, change: Any) -> Any:
    """Return ``base`` with the keys of ``change`` in place of its own, at every depth."""
    if isinstance(base, dict) and isinstance(change, dict):
        return {**base, **{key: lay_over(base.get(key), value) for key, value in change.items()}}
    return change


def build_facts(wanted: Mapping[str, Any]) -> Facts:
    """Return facts. ``system`` names one of systems.json; a GPU's ``like`` names one of gpus.json."""
    change = dict(wanted)
    data = lay_over(SYSTEMS["healthy"], SYSTEMS[change.pop("system", "healthy")])
    gpus = [dict(lay_over(GPUS[gpu["like"]], gpu)) for gpu in change.pop("gpus", [])]
    for gpu in gpus:
        del gpu["like"]
    return msgspec.convert(lay_over(data, {**change, "gpus": gpus}), Facts)
