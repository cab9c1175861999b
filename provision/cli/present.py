"""Plans as documents and as text, for the verbs that show one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from provision.cli import output
from provision.cli.differences import changes_document, drift_document, show_diff, show_drift
from provision.cli.session import Result
from provision.domain.artifacts import PinnedFile
from provision.domain.choice import Alternative, Recommendation
from provision.domain.measure import SmokeReport
from provision.domain.model import Model
from provision.domain.plan import Action, Change, Kind, Plan
from provision.domain.selection import Selection

EXIT_PENDING = 2
_UNKNOWN = {"sha256": "SHA-256", "version": "version", "download_bytes": "size"}
_STYLES = {Action.CREATE: output.GOOD, Action.NONE: output.DIM, Action.DELETE: output.BAD}


def show_smoke(report: SmokeReport) -> None:
    """Show what the smoke test saw, a line for each surface."""
    from provision.observe.report import smoke_line

    for check in report.checks:
        output.line(smoke_line(check), output.GOOD if check.ok else output.BAD)


def choice_document(plan: Plan) -> dict[str, Any]:
    """Return what was chosen, with the keys of the contract."""
    chosen, model = plan.selection, plan.selection.model
    return {
        "backend": chosen.backend,
        "acceleration": chosen.acceleration,
        "engine_version": chosen.release.version or None,
        "model": model_document(model),
        "endpoint": {"base_url": chosen.base_url, "model": model.name},
        "devices": list(chosen.devices),
        "advisories": advisories_document(chosen.program, chosen.release.version),
        "fit": asdict(chosen.fit),
        "why": list(chosen.why),
        "why_not": dict(chosen.why_not),
        **weighed_document(plan.recommended, plan.alternatives),
    }


def advisories_document(engine: str, version: str) -> list[dict[str, Any]]:
    """Return the security advisories that a version is subject to; ``needs`` is what else has to be in use for one."""
    import msgspec

    from provision.knowledge.advisories import advisories_of

    return [msgspec.to_builtins(each) for each in advisories_of(engine, version)]


def weighed_document(best: Recommendation | None, alternatives: Sequence[Alternative]) -> dict[str, Any]:
    """Return what suits best, and what else was weighed, with what is against it."""
    return {
        "recommendation": recommendation_document(best),
        "alternatives": [asdict(alternative) for alternative in alternatives],
    }


def recommendation_document(best: Recommendation | None) -> dict[str, Any] | None:
    """Return what suits a machine best, whether or not this version can install it."""
    if best is None:
        return None
    return {
        "profile": best.profile,
        "backend": best.backend,
        "acceleration": best.acceleration,
        "build": best.build,
        "devices": list(best.devices),
        "model": model_document(best.model),
        "fit": asdict(best.fit),
        "installable": best.installable,
        "obstacle": best.obstacle,
        "why": list(best.why),
        "advice": best.advice,
    }


def model_document(model: Model) -> dict[str, Any]:
    """Return a model with the keys of the contract."""
    return {
        "name": model.name,
        "reference": model.reference,
        "format": model.format,
        "size_bytes": model.size_bytes,
        "quantization": model.quantization,
        "license": model.license,
        "sha256": model.sha256,
        "verified": model.verified,
    }


def plan_document(plan: Plan) -> dict[str, Any]:
    """Return a whole plan with the keys of the contract."""
    from provision.plan.diff import summary

    return {
        **choice_document(plan),
        "findings": [asdict(finding) for finding in plan.findings],
        "unused_gpus": plan.unused_gpus,
        "changes": changes_document(plan.changes),
        "drift": drift_document(plan.drift),
        "summary": summary(plan),
        "digest": plan.digest,
    }


def plan_result(plan: Plan, *, detailed: bool = False) -> Result:
    """Present a plan; where ``detailed``, the exit status says whether anything would change."""
    exit_code = EXIT_PENDING if detailed and plan.changed else 0
    return Result(plan_document(plan), lambda: show_plan(plan), exit_code)


def show_choice(plan: Plan) -> None:
    """Show what was chosen, what is known against it, why, and why not the others."""
    from provision.knowledge.advisories import why_refused

    chosen = plan.selection
    output.pairs(_remote_pairs(chosen) if chosen.is_remote else _chosen_pairs(chosen))
    for file in (*chosen.release.files, *chosen.model.files):
        if not file.verified:
            output.line(f"  beware   {_unverified(file, chosen.model)}", output.WARN)
    if refused := why_refused(chosen.program, chosen.release.version):
        output.line(f"  beware   {chosen.engine_name} {refused}", output.WARN)
    for reason in chosen.why:
        output.line(f"  why      {reason}", output.DIM)
    for name, reason in chosen.why_not.items():
        output.line(f"  why not  {name}: {reason}", output.DIM)
    if plan.unused_gpus:
        output.line(f"  beware   {plan.unused_gpus}", output.WARN)
    if plan.recommended is not None and not plan.recommended.installable:
        output.line()
        show_recommendation(plan.recommended)


def _unverified(file: PinnedFile, model: Model) -> str:
    if file.sha256 is None:
        remedy = ". Add #sha256=HEX to it" if (file,) == model.files else ""
        return f"nobody tells the SHA-256 of {file.path}; what comes is believed{remedy}"
    return f"{file.path} is unverified: its SHA-256 {file.sha256} was learnt when it was fetched"


def _remote_pairs(chosen: Selection) -> list[tuple[str, str]]:
    context = f"{chosen.context} tokens" if chosen.context else "as that server has it"
    return [
        ("engine", f"{chosen.engine_name}, run by somebody else"),
        ("model", chosen.model.name),
        ("context", context),
        ("endpoint", chosen.base_url),
    ]


def _chosen_pairs(chosen: Selection) -> list[tuple[str, str]]:
    return [
        ("engine", f"{chosen.engine_name} on {chosen.acceleration}, {chosen.threads} threads"),
        ("model", f"{chosen.model.name} ({chosen.model.quantization}, {output.size(chosen.model.size_bytes)})"),
        ("context", f"{chosen.context} tokens{_for_each(chosen.parallel)}"),
        (
            "memory",
            f"{output.gib_of(chosen.fit.need_bytes, chosen.fit.budget_bytes)}: {chosen.fit.verdict}",
        ),
        ("endpoint", chosen.base_url),
    ]


def _for_each(parallel: int) -> str:
    return "" if parallel == 1 else f" for each of {parallel} requests"


def show_recommendation(best: Recommendation) -> None:
    """Show what suits the machine best."""
    devices = f" ({', '.join(best.devices)})" if best.devices else ""
    output.line(f"Suits this machine best: {best.backend} on {best.acceleration}{devices}", output.BOLD)
    output.line(f"  model    {best.model.name}, {best.model.reference}")
    for reason in best.why:
        output.line(f"  why      {reason}", output.DIM)
    if best.obstacle:
        output.line(f"  not yet  {best.obstacle}", output.DIM)
    if best.advice:
        output.line(f"  advice   {best.advice}", output.DIM)


def show_alternatives(alternatives: Sequence[Alternative], chosen: Recommendation | None) -> None:
    """Show what else was weighed: what comes later, then what cannot be, with the nearest reason against each."""
    taken = {(chosen.backend, chosen.acceleration)} if chosen else set()
    later = dict.fromkeys((each.backend, each.acceleration) for each in alternatives if not each.reason)
    shown = [way for way in later if way not in taken]
    if shown:
        output.line(f"  later    {_ways(shown)}", output.DIM)
    against: dict[str, list[tuple[str, str]]] = {}
    for way in dict.fromkeys((each.backend, each.acceleration) for each in alternatives):
        if way not in later and way not in taken:
            same = (each for each in alternatives if (each.backend, each.acceleration) == way)
            against.setdefault(min(same, key=lambda each: each.distance).reason, []).append(way)
    for reason, ways in against.items():
        output.line(f"  why not  {_ways(ways)}: {reason}", output.DIM)


def _ways(ways: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{backend} on {acceleration}" for backend, acceleration in ways)


def show_plan(plan: Plan) -> None:
    """Show a plan as a table and its sum."""
    show_choice(plan)
    output.line()
    for finding in plan.findings:
        output.line(f"{finding.code}: {finding.evidence}. `up` will refuse.", output.BAD)
        output.line(f"  {finding.fix}")
    if not plan.changed:
        show_drift(plan.drift)
        output.line("No changes: everything is as it should be.", output.GOOD)
        return
    show_drift(plan.drift, diffs=False)
    rows = [(c.action.value, c.resource, c.reason, _cost(c)) for c in plan.changes]
    styles = [_STYLES.get(change.action) for change in plan.changes]
    output.table(("action", "resource", "reason", "cost"), rows, styles)
    download = sum(change.download_bytes for change in plan.changes)
    disk = sum(change.disk_bytes for change in plan.changes)
    memory = sum(change.memory_bytes for change in plan.changes)
    at_most = _at_most(*plan.changes)
    output.line(
        f"To fetch: {at_most}{output.size(download)}. Disk: {output.size(disk)}. Memory: {output.size(memory)}."
    )
    for change in plan.changes:
        if change.diff and (change.action is not Action.CREATE or change.kind is Kind.SERVICE):
            output.line(f"{change.resource}, from what is there to what is wanted:")
            show_diff(change.diff)


def _at_most(*changes: Change) -> str:
    """What is read before it is fetched may not have to be."""
    return "at most " if any(change.unread for change in changes) else ""


def _cost(change: Change) -> str:
    fetched = [f"{_at_most(change)}{output.size(change.download_bytes)} to fetch"] if change.download_bytes else []
    unknown = [_UNKNOWN[what] for what in change.unknown if not (change.unread and what == "download_bytes")]
    later = [f"{' and '.join(unknown)} known after apply"] if unknown else []
    return ", ".join(fetched + later)
