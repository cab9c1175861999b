"""GPUs that environment variables hide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision.domain.facts import Facts, Gpu
from provision.domain.finding import Finding, Severity
from provision.facts.findings.fixes import fix_for
from provision.facts.findings.wording import names, plain


def hidden(facts: Facts, gpus: Sequence[Gpu], code: str, variables: Sequence[str]) -> Iterator[Finding]:
    """Yield the finding for those of ``gpus`` that ``variables`` hide: it may be meant, unless nothing is left."""
    found = [gpu for gpu in gpus if gpu.masked]
    if not found:
        return
    set_here = [name for name in variables if name in facts.gpu_env] or list(variables[:1])
    shown = ", ".join(f"{name}={plain(facts.gpu_env.get(name, ''))!r}" for name in set_here)
    left = any(not gpu.masked for gpu in facts.gpus)
    severity = Severity.INFO if left else Severity.WARNING
    yield Finding(
        code, severity, f"{shown} hides {names(found)}", fix_for(facts, code, found, variables=" ".join(set_here))
    )
