"""Whether this machine has the service manager that is wished for. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision.domain.facts import Facts
from provision.domain.finding import Finding, Severity
from provision.domain.spec import BUILTIN, LAUNCHD, SYSTEMD, Spec

ABSENT, SILENT = "SERVICE-ABSENT", "SERVICE-SILENT"
_BUILTIN = "# Or leave it to fabric: --service builtin."


def service_obstacles(spec: Spec, facts: Facts) -> Iterator[Finding]:
    """Yield why nobody there can keep the server running as ``spec`` wishes; nothing where that is not known."""
    if spec.service == BUILTIN:
        return
    wanted = {SYSTEMD: "systemd", LAUNCHD: "launchd"}[spec.service]
    if facts.os.init != wanted:
        runs = f"{facts.os.init} does" if facts.os.init else "nothing that is known does, as in a container"
        evidence = f"service: {spec.service} is wished for, and {wanted} does not run this machine; {runs}"
        yield Finding(ABSENT, Severity.ERROR, evidence, "# Use --service builtin.")
    elif spec.service == SYSTEMD and facts.os.user_services is False:
        evidence = "service: systemd is wished for, and no service manager of this user answers, as after su or in cron"
        fix = f"machinectl shell $USER@   # or log in as this user, and run fabric there\n{_BUILTIN}"
        yield Finding(SILENT, Severity.ERROR, evidence, fix)
