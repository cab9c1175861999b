"""What is chosen for a small machine."""

from __future__ import annotations

from provision.domain.facts import Cpu, Facts, Libc, Memory, OperatingSystem
from provision.domain.selection import Selection
from provision.domain.spec import Spec
from provision.planner import read_knowledge
from provision.select.choose import Chooser


def select_for_small_machine() -> Selection:
    facts = Facts(
        os=OperatingSystem(system="Linux", arch="x86_64", libc=Libc("glibc", "2.36")),
        cpu=Cpu(cores_usable=2),
        memory=Memory(8 << 30, 8 << 30),
        libraries={"libgomp.so.1": "/lib/libgomp.so.1"},
    )
    choice = Chooser(Spec(), facts, None, read_knowledge(), 8080).choose()
    assert choice.selection is not None
    return choice.selection
