from __future__ import annotations

import pytest

from provision.domain.facts import Facts, OperatingSystem
from provision.domain.spec import Spec
from provision.select.service import ABSENT, SILENT, service_obstacles


@pytest.mark.parametrize(
    ("service", "system", "code"),
    [
        ("builtin", OperatingSystem(), None),
        ("systemd", OperatingSystem(init="systemd", user_services=True), None),
        ("systemd", OperatingSystem(init="systemd", user_services=None), None),
        ("systemd", OperatingSystem(init="systemd", user_services=False), SILENT),
        ("systemd", OperatingSystem(init="openrc"), ABSENT),
        ("systemd", OperatingSystem(), ABSENT),
        ("systemd", OperatingSystem(init="launchd"), ABSENT),
        ("launchd", OperatingSystem(init="systemd", user_services=True), ABSENT),
        ("launchd", OperatingSystem(init="launchd"), None),
    ],
)
def test_who_can_keep_a_server_running(service: str, system: OperatingSystem, code: str | None) -> None:
    found = list(service_obstacles(Spec(service=service), Facts(os=system)))
    assert [finding.code for finding in found] == ([code] if code else [])
    assert all("--service builtin" in finding.fix for finding in found)
