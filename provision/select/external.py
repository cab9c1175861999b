"""The choice where there is none: a server that somebody else runs. Pure."""

from __future__ import annotations

from provision.domain.engine import EngineRelease, Method
from provision.domain.fingerprint import Fingerprint
from provision.domain.model import Model, ModelShape
from provision.domain.ollama_name import names_match
from provision.domain.selection import Fit, Selection
from provision.domain.spec import AUTO, Spec
from provision.errors import UnreachableError, UsageError, did_you_mean

BACKEND, REMOTE = "external", "remote"
SHOWN_MODELS = 12


def select_external(spec: Spec, base_url: str, seen: Fingerprint) -> Selection:
    """Return what is served at ``base_url`` as a selection; ``seen`` is what answered there.

    Raises ``UnreachableError`` where no model server does, ``UsageError`` where the model is not clear.
    """
    _check(spec, base_url, seen)
    name = _model_name(spec, base_url, seen)
    context = seen.contexts.get(name, 0)
    release = EngineRelease(
        engine=BACKEND,
        source=seen.kind,
        version=seen.version or seen.kind,
        build=REMOTE,
        system="",
        arch="",
        installed_bytes=0,
        acceleration=REMOTE,
        method=Method.REMOTE,
        path=base_url,
    )
    model = Model(name, name, REMOTE, None, 0, None, ModelShape("", 0, 0, 0, 0, context))
    return Selection(
        spec=spec,
        backend=BACKEND,
        acceleration=REMOTE,
        release=release,
        provided_libraries=(),
        model=model,
        context=context,
        parallel=spec.parallel,
        threads=0,
        spin_count=None,
        host="",
        port=0,
        fit=Fit("unknown", 0, None, 0, 0, context),
        why=(f"{base_url} was asked for; {seen.detail}",),
        why_not=dict.fromkeys(("ollama", "llamacpp", "vllm"), "another server was asked for"),
    )


def is_listed(seen: Fingerprint, name: str) -> bool:
    """Tell whether the server has a model of this name; Ollama lists the tag ``latest``, which names may leave out."""
    return any(each == name or (seen.kind == "ollama" and names_match(each, name)) for each in seen.models)


def _check(spec: Spec, base_url: str, seen: Fingerprint) -> None:
    if not seen.speaks_openai:
        raise UnreachableError(
            f"No model server answers at {base_url}: {seen.detail}.", "Check the address, and that the server runs."
        )
    if seen.needs_key and not spec.api_key_env:
        raise UsageError(
            f"The server at {base_url} wants an API key.",
            "Put it into an environment variable and name that: --api-key-env NAME.",
        )


def _model_name(spec: Spec, base_url: str, seen: Fingerprint) -> str:
    asked = spec.model.removeprefix("ollama:")
    if spec.model == AUTO:
        if len(seen.models) == 1:
            return seen.models[0]
        listed = ", ".join(seen.models[:SHOWN_MODELS]) or "none"
        raise UsageError(f"The server at {base_url} lists {listed}: which one?", "Name it: --model NAME.")
    if seen.models and not is_listed(seen, asked) and seen.kind != "ollama":
        raise UsageError(
            f"The server at {base_url} has no model {asked!r}.{did_you_mean(asked, list(seen.models))}",
            f"It lists {', '.join(seen.models[:SHOWN_MODELS])}.",
        )
    return asked
