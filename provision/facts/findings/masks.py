"""GPUs that environment variables hide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision.domain.facts import Facts
from provision.domain.finding import Finding, Severity
from provision.domain.gpu import Gpu
from provision.facts.findings.fixes import fix_for
from provision.facts.findings.wording import names, plain


def hidden(facts: Facts, gpus: Sequence[Gpu], code: str, variables: Sequence[str]) -> Iterator[Finding]:
    """Yield the finding for those of ``gpus`` that ``variables`` hide: it may be meant, unless nothing is left."""
    found = [gpu for gpu in gpus if gpu.masked]
    if not found:
        return
    set_here = _set_here(facts, variables)
    left = any(not gpu.masked for gpu in facts.gpus)
    severity = Severity.INFO if left else Severity.WARNING
    evidence = f"{_shown(facts, set_here)} hides {names(found)}"
    yield Finding(code, severity, evidence, fix_for(facts, code, found, variables=" ".join(set_here)))


def ambiguous(facts: Facts, gpus: Sequence[Gpu], code: str, variable: str) -> Iterator[Finding]:
    """Yield the finding for those of ``gpus`` that ``variable`` may hide, or another in their place."""
    found = [gpu for gpu in gpus if gpu.masked is None]
    if not found:
        return
    evidence = f"{_shown(facts, [variable])} hides some of {names(found)}, and which is not certain"
    choices = [f"# export {variable}={plain(gpu.uuid)} # {names([gpu])}" for gpu in found if gpu.uuid]
    tags = ("ambiguous", "uuid") if len(choices) == len(found) else ("ambiguous",)
    fix = fix_for(facts, code, found, tags, choices="\n".join(choices))
    yield Finding(code, Severity.WARNING, evidence, fix)


def _set_here(facts: Facts, variables: Sequence[str]) -> list[str]:
    return [name for name in variables if name in facts.gpu_env] or list(variables[:1])


def _shown(facts: Facts, variables: Sequence[str]) -> str:
    return ", ".join(f"{name}={plain(facts.gpu_env.get(name, ''))!r}" for name in variables)
