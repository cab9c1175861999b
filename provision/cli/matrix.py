"""A plan over several machines: one table for people, one document or one line each for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from provision.cli import output
from provision.cli.present import EXIT_PENDING, plan_document, recommendation_document
from provision.cli.session import Result
from provision.domain.facts import Facts

if TYPE_CHECKING:
    from provision.fleet import PlannedMachine

SCHEMA = "fabric.plan/v1"
HEAD = ("machine", "system", "GPU", "suits best", "model", "memory", "fabric installs")


def matrix_result(machines: Iterable[PlannedMachine], *, json_lines: bool, detailed: bool) -> Result:
    """Present what suits each machine and what would be installed there.

    The exit status is 0 where each has a plan, else that of the first that has none; where ``detailed``, it says
    whether anything would change.
    """
    if json_lines:
        return _lines(machines, detailed=detailed)
    planned = list(machines)
    hosts = [_document(machine) for machine in planned]
    served = sum(machine.plan is not None for machine in planned)
    document = {"hosts": hosts, "summary": {"planned": served, "refused": len(hosts) - served}}
    codes = [_code(machine, detailed=detailed) for machine in planned]
    return Result(document, lambda: _show(planned), _worst(codes))


def _lines(machines: Iterable[PlannedMachine], *, detailed: bool) -> Result:
    """Print each line as soon as it is known: a fleet may be large."""
    codes = []
    for machine in machines:
        sys.stdout.write(json.dumps({"schema": SCHEMA, **_document(machine)}) + "\n")
        codes.append(_code(machine, detailed=detailed))
    return Result({}, lambda: None, _worst(codes), printed=True)


def _document(machine: PlannedMachine) -> dict[str, Any]:
    document: dict[str, Any] = {"host": machine.name}
    if machine.plan is not None:
        document |= plan_document(machine.plan)
    else:
        document["recommendation"] = recommendation_document(machine.recommended)
    if machine.error is not None:
        document["error"] = machine.error.document()
    return document


def _show(machines: list[PlannedMachine]) -> None:
    styles = [output.BAD if machine.plan is None else None for machine in machines]
    output.table(HEAD, [_row(machine) for machine in machines], styles)
    for machine in machines:
        if machine.error is not None:
            output.line(f"{machine.name}: {machine.error.message}", output.BAD)


def _row(machine: PlannedMachine) -> tuple[str, ...]:
    best, plan = machine.recommended, machine.plan
    if machine.facts is None:
        return (machine.name, "unknown", "", "", "", "", "no")
    installs = f"{plan.selection.backend} on {plan.selection.acceleration}" if plan else "nothing"
    if best is None:
        return (machine.name, _system(machine.facts), _gpus(machine.facts), "nothing", "", "", installs)
    memory = f"{output.gib_of(best.fit.need_bytes, best.fit.budget_bytes)}, {best.fit.verdict}"
    return (
        machine.name,
        _system(machine.facts),
        _gpus(machine.facts),
        f"{best.backend} on {best.acceleration}",
        best.model.name,
        memory,
        installs,
    )


def _system(facts: Facts) -> str:
    words = (facts.os.distribution or facts.os.system, facts.os.version, facts.os.arch)
    return " ".join(word for word in words if word) or "unknown"


def _gpus(facts: Facts) -> str:
    names = [gpu.name or gpu.device_id or gpu.vendor or "GPU" for gpu in facts.gpus]
    counted = {name: names.count(name) for name in names}
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in counted.items()) or "none"


def _code(machine: PlannedMachine, *, detailed: bool) -> int:
    if machine.error is not None:
        return machine.error.exit_code
    return EXIT_PENDING if detailed and machine.plan is not None and machine.plan.changed else 0


def _worst(codes: Sequence[int]) -> int:
    """Return the first that is an error, else whether anything is pending."""
    return next((code for code in codes if code not in (0, EXIT_PENDING)), max(codes, default=0))
