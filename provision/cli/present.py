"""Plans as documents and as text, for the verbs that show one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from provision.cli import output
from provision.cli.session import Result
from provision.domain.measure import SmokeReport
from provision.domain.plan import Action, Change, Plan

_STYLES = {Action.CREATE: output.GOOD, Action.NONE: output.DIM, Action.DELETE: output.BAD}


def changes_document(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Return the changes with the keys of the contract."""
    return [
        {
            "action": change.action.value,
            "resource": change.resource,
            "reason": change.reason,
            "download_bytes": change.download_bytes,
            "disk_bytes": change.disk_bytes,
        }
        for change in changes
    ]


def show_smoke(report: SmokeReport) -> None:
    """Show what the smoke test saw, a line for each surface."""
    from provision.observe.report import smoke_line

    for check in report.checks:
        output.line(smoke_line(check), output.GOOD if check.ok else output.BAD)


def choice_document(plan: Plan) -> dict[str, Any]:
    """Return what was chosen, with the keys of the contract."""
    chosen, model, fit = plan.selection, plan.selection.model, plan.selection.fit
    return {
        "backend": chosen.backend,
        "acceleration": chosen.acceleration,
        "engine_version": chosen.release.version,
        "model": {
            "name": model.name,
            "reference": model.reference,
            "format": model.format,
            "size_bytes": model.size_bytes,
            "quantization": model.quantization,
            "license": model.license,
        },
        "endpoint": {"base_url": chosen.base_url, "model": model.name},
        "fit": {
            "verdict": fit.verdict,
            "need_bytes": fit.need_bytes,
            "budget_bytes": fit.budget_bytes,
            "weights_bytes": fit.weights_bytes,
            "kv_cache_bytes": fit.kv_cache_bytes,
            "context_length": fit.context_length,
        },
        "why": list(chosen.why),
        "why_not": dict(chosen.why_not),
    }


def plan_document(plan: Plan) -> dict[str, Any]:
    """Return a whole plan with the keys of the contract."""
    from provision.plan.diff import summary

    return {
        **choice_document(plan),
        "changes": changes_document(plan.changes),
        "summary": summary(plan),
        "digest": plan.digest,
    }


def plan_result(plan: Plan, exit_code: int = 0) -> Result:
    """Present a plan."""
    return Result(plan_document(plan), lambda: show_plan(plan), exit_code)


def show_choice(plan: Plan) -> None:
    """Show what was chosen, why, and why not the others."""
    chosen = plan.selection
    output.pairs(
        [
            ("engine", f"{chosen.backend} {chosen.release.version} on {chosen.acceleration}, {chosen.threads} threads"),
            ("model", f"{chosen.model.name} ({chosen.model.quantization}, {output.size(chosen.model.size_bytes)})"),
            ("context", f"{chosen.context} tokens for each of {chosen.parallel} requests"),
            (
                "memory",
                f"{output.size(chosen.fit.need_bytes)} of {output.size(chosen.fit.budget_bytes)}: {chosen.fit.verdict}",
            ),
            ("endpoint", chosen.base_url),
        ]
    )
    for reason in chosen.why:
        output.line(f"  why      {reason}", output.DIM)
    for name, reason in chosen.why_not.items():
        output.line(f"  why not  {name}: {reason}", output.DIM)


def show_plan(plan: Plan) -> None:
    """Show a plan as a table and its sum."""
    show_choice(plan)
    output.line()
    if not plan.changed:
        output.line("No changes: everything is as it should be.", output.GOOD)
        return
    rows = [(c.action.value, c.resource, c.reason, _cost(c)) for c in plan.changes]
    styles = [_STYLES.get(change.action) for change in plan.changes]
    output.table(("action", "resource", "reason", "cost"), rows, styles)
    download = sum(change.download_bytes for change in plan.changes)
    disk = sum(change.disk_bytes for change in plan.changes)
    output.line(f"To fetch: {output.size(download)}. Disk: {output.size(disk)}.")


def _cost(change: Change) -> str:
    return f"{output.size(change.download_bytes)} to fetch" if change.download_bytes else ""
