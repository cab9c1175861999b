"""Where the running server listens, against what was declared."""

from __future__ import annotations

from provision.domain.security_check import Outcome, SecurityCheck
from provision.domain.selection import Selection
from provision.domain.web_address import is_loopback
from provision.host.layout import Layout
from provision.serve.audit import undeclared_sockets
from provision.serve.observation import Server

CODE, KEY_CODE = "listening-sockets", "key-required"


def check(layout: Layout, selection: Selection | None) -> SecurityCheck:
    """Look at every process of the server."""
    if selection is None or not Server(layout, selection).is_ours_running():
        return SecurityCheck(CODE, Outcome.UNKNOWN, "no server of fabric's runs")
    found = undeclared_sockets(layout, selection)
    if found is None:
        return SecurityCheck(CODE, Outcome.UNKNOWN, "its sockets cannot be seen from here")
    declared = f"{selection.host}, port {selection.port}"
    if found:
        listed = ", ".join(f"{each.place} ({each.program}, process {each.pid})" for each in found)
        return SecurityCheck(
            CODE, Outcome.FAILED, f"it also listens at {listed}; declared is {declared}", "fabric down"
        )
    return SecurityCheck(CODE, Outcome.OK, f"it listens at {declared}, and nowhere else that others can reach")


def check_key(selection: Selection | None) -> SecurityCheck:
    """Tell whether a server that others can reach wants a key."""
    if selection is None or selection.is_remote:
        return SecurityCheck(KEY_CODE, Outcome.UNKNOWN, "no server of fabric's is set up")
    if is_loopback(selection.host):
        return SecurityCheck(KEY_CODE, Outcome.OK, f"only this machine reaches {selection.host}")
    if selection.spec.api_key_env:
        return SecurityCheck(KEY_CODE, Outcome.OK, f"whoever reaches {selection.host} needs the key")
    fix = "fabric up --api-key-env NAME, or --host 127.0.0.1"
    return SecurityCheck(KEY_CODE, Outcome.FAILED, f"whoever reaches {selection.host} is answered without a key", fix)
