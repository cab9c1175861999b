"""A catalogue model, a release and a machine that runs it, to be changed one fact at a time."""

from __future__ import annotations

import pytest

from provision.choosing import read_knowledge
from provision.domain.engine import EngineRelease
from provision.domain.facts import Cpu, Disk, Facts, Libc, Memory, OperatingSystem
from provision.domain.model import Model
from provision.engines.llamacpp import LlamaCpp
from provision.select.knowledge import Knowledge

GIB = 1 << 30


@pytest.fixture(scope="session")
def knowledge() -> Knowledge:
    return read_knowledge()


@pytest.fixture
def model(knowledge: Knowledge) -> Model:
    found = next(row for row in knowledge.catalog.models if row.name == "smollm2-135m").model("llamacpp")
    assert found is not None
    return found


@pytest.fixture
def release() -> EngineRelease:
    return next(r for r in LlamaCpp().releases() if r.wheel and (r.system, r.arch) == ("Linux", "x86_64"))


@pytest.fixture
def facts(release: EngineRelease) -> Facts:
    return Facts(
        os=OperatingSystem(system="Linux", arch="x86_64", libc=Libc("glibc", "2.36")),
        cpu=Cpu(vendor="AuthenticAMD", cores_usable=4, isa=release.isa),
        memory=Memory(16 * GIB, 12 * GIB, None),
        disk=Disk("/", 100 * GIB),
        libraries={"libgomp.so.1": "/lib/libgomp.so.1"},
    )
