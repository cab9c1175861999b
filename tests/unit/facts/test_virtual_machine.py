from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provision.facts.virtual_machine import read_vm
from provision.host.machine import Machine, Platform

Imagine = Callable[..., Machine]
PATHS = {
    "vendor": "/sys/class/dmi/id/sys_vendor",
    "product": "/sys/class/dmi/id/product_name",
    "clocks": "/sys/devices/system/clocksource/clocksource0/available_clocksource",
    "tree": "/proc/device-tree/hypervisor/compatible",
    "xen": "/proc/xen/capabilities",
}


@pytest.mark.cases("virtual_machines")
def test_hypervisor(case: dict[str, Any], imagine: Imagine) -> None:
    files = {path: f"{case[name]}\n" for name, path in PATHS.items() if name in case}
    machine = imagine(files, platform=Platform("Linux", case.get("machine", "x86_64")))
    isa = ("fpu", "hypervisor") if case.get("hypervisor") else ("fpu",)
    assert read_vm(machine, isa) == case["vm"]


def test_without_a_readable_processor_the_firmware_counts(imagine: Imagine) -> None:
    firmware = {PATHS["vendor"]: "Amazon EC2\n", PATHS["product"]: "g5.xlarge\n"}
    assert read_vm(imagine(firmware), ()) == "amazon"
    assert read_vm(imagine(), ()) is None
