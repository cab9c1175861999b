"""What is chosen for a small machine."""

from __future__ import annotations

from provision.choosing import read_knowledge
from provision.domain.facts import Cpu, Facts, Libc, Memory, OperatingSystem
from provision.domain.selection import Selection
from provision.domain.spec import Install, Spec
from provision.select.choose import Chooser

KNOWLEDGE = read_knowledge()
SMALLEST = next(row for row in KNOWLEDGE.catalog.models if row.name == KNOWLEDGE.catalog.default)


def select_for_small_machine() -> Selection:
    """Return a small model on the processor, through the wheel of llama.cpp."""
    facts = Facts(
        os=OperatingSystem(system="Linux", arch="x86_64", libc=Libc("glibc", "2.36")),
        cpu=Cpu(cores_usable=2),
        memory=Memory(8 << 30, 8 << 30),
        libraries={"libgomp.so.1": "/lib/libgomp.so.1"},
    )
    spec = Spec(model="smollm2-135m", install=Install(("wheel",)))
    choice = Chooser(spec, facts, SMALLEST, KNOWLEDGE, 8080).choose()
    assert choice.selection is not None
    return choice.selection
