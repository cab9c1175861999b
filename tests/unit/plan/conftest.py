"""A selection, and the state of a machine on which all is as selected."""

from __future__ import annotations

import pytest

from provision.domain.facts import Cpu, Facts, Libc, Memory, OperatingSystem
from provision.domain.selection import Selection
from provision.domain.server import ServerState
from provision.domain.spec import Install, Spec
from provision.domain.state import State
from provision.plan.observed import Observed
from provision.planner import read_knowledge
from provision.select.choose import Chooser

KNOWLEDGE = read_knowledge()
SMALLEST = next(row for row in KNOWLEDGE.catalog.models if row.name == KNOWLEDGE.catalog.default)


@pytest.fixture
def selection() -> Selection:
    facts = Facts(
        os=OperatingSystem(system="Linux", arch="x86_64", libc=Libc("glibc", "2.36")),
        cpu=Cpu(cores_usable=2),
        memory=Memory(8 << 30, 8 << 30),
        libraries={"libgomp.so.1": "/lib/libgomp.so.1"},
    )
    choice = Chooser(Spec(model="smollm2-135m", install=Install(("wheel",))), facts, SMALLEST, KNOWLEDGE, 8080).choose()
    assert choice.selection is not None
    return choice.selection


@pytest.fixture
def settled(selection: Selection) -> Observed:
    state = State("lineage", serial=4, generation=3, selection=selection)
    files = {"server.json": "s", "parameters.json": "p"}
    return Observed(state, "", "", ServerState.READY, dict(files), dict(files), running=3)
