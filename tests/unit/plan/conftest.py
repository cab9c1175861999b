"""A selection, and the state of a machine on which all is as selected."""

from __future__ import annotations

import pytest

from provision import assets
from provision.domain.facts import Cpu, Facts, Libc, Memory, OperatingSystem
from provision.domain.selection import Selection
from provision.domain.server import ServerState
from provision.domain.spec import Spec
from provision.domain.state import State
from provision.engines.registry import ENGINES
from provision.plan.observed import Observed
from provision.select.catalog import catalog
from provision.select.choose import Knowledge, choose


@pytest.fixture
def selection() -> Selection:
    knowledge = Knowledge({n: e.releases() for n, e in ENGINES.items()}, {}, assets.profile("serving"))
    facts = Facts(
        os=OperatingSystem(system="Linux", arch="x86_64", libc=Libc("glibc", "2.36")),
        cpu=Cpu(cores_usable=2),
        memory=Memory(8 << 30, 8 << 30),
        libraries={"libgomp.so.1": "/lib/libgomp.so.1"},
    )
    return choose(Spec(), facts, catalog()[0], knowledge, port=8080)


@pytest.fixture
def settled(selection: Selection) -> Observed:
    state = State("lineage", serial=4, generation=3, selection=selection)
    files = {"server.json": "s", "parameters.json": "p"}
    return Observed(state, "", "", ServerState.READY, dict(files), dict(files), running=3)
