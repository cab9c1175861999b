"""The choice where there is none: a server that somebody else runs. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision.domain.engine import EngineRelease, Method
from provision.domain.fingerprint import OLLAMA, Fingerprint
from provision.domain.model import Model, ModelShape
from provision.domain.ollama_name import names_match, parse_name
from provision.domain.selection import Fit, Selection
from provision.domain.spec import AUTO, BACKENDS, Spec
from provision.errors import UnreachableError, UsageError, did_you_mean

BACKEND, REMOTE = "external", "remote"
SHOWN_MODELS = 12
_TURNED_AWAY = (401, 403)
_LOADING = 503
_OLLAMA_PREFIX = "ollama:"
_NOT_HEEDED = ("acceleration", "context", "threads", "parallel", "kv_cache", "keep_alive", "install")


def select_external(spec: Spec, base_url: str, seen: Fingerprint) -> Selection:
    """Return what is served at ``base_url`` as a selection; ``seen`` is what answered there.

    Raises ``UnreachableError`` where no model server does, ``UsageError`` where the model is not clear, or the key
    is missing or not the right one.
    """
    _check(spec, base_url, seen)
    name = _model_name(spec, base_url, seen)
    context = seen.contexts.get(name, 0)
    release = EngineRelease(
        engine=BACKEND,
        source=seen.kind,
        version=seen.version or "",
        build=REMOTE,
        system="",
        arch="",
        installed_bytes=0,
        acceleration=REMOTE,
        method=Method.REMOTE,
        path=base_url,
    )
    return Selection(
        spec=spec,
        backend=BACKEND,
        acceleration=REMOTE,
        release=release,
        provided_libraries=(),
        model=Model(name, name, REMOTE, None, 0, None, ModelShape("", 0, 0, 0, 0, context)),
        context=context,
        parallel=spec.parallel,
        threads=0,
        spin_count=None,
        host="",
        port=0,
        fit=Fit("unknown", 0, None, 0, 0, context),
        why=(f"{base_url} was asked for; {seen.detail}", *_not_heeded(spec)),
        why_not=dict.fromkeys((each for each in BACKENDS if each not in (AUTO, BACKEND)), "another server is used"),
    )


def lacks_model(selection: Selection, seen: Fingerprint) -> bool:
    """Tell whether the model has still to be fetched by the server itself; only of Ollama is that asked."""
    return seen.kind == OLLAMA and _listed(seen, selection.model.name) is None


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
    if seen.status in _TURNED_AWAY:
        raise UsageError(
            f"The server at {base_url} does not take the API key in {spec.api_key_env}: {seen.detail}.",
            f"Set {spec.api_key_env} to a key that is valid there.",
        )
    if spec.require_gpu:
        raise UsageError(
            "--require-gpu cannot be promised of a server that somebody else runs.", "Leave --require-gpu out."
        )


def _not_heeded(spec: Spec) -> Iterator[str]:
    """Say of options that were given and mean nothing to a server that runs already."""
    usual = Spec()
    given = [name.replace("_", " ") for name in _NOT_HEEDED if getattr(spec, name) != getattr(usual, name)]
    if given:
        yield f"not heeded, because whoever runs that server has set it up: {', '.join(given)}"


def _listed(seen: Fingerprint, name: str) -> str | None:
    """Return the name by which the server lists a model; Ollama lists the tag ``latest``, which names may leave out."""
    if name in seen.models:
        return name
    return next((each for each in seen.models if seen.kind == OLLAMA and names_match(each, name)), None)


def _model_name(spec: Spec, base_url: str, seen: Fingerprint) -> str:
    known = ", ".join(seen.models[:SHOWN_MODELS]) + (" …" if len(seen.models) > SHOWN_MODELS else "")
    if spec.model == AUTO:
        if len(seen.models) == 1:
            return seen.models[0]
        which = f"lists several models: {known}" if seen.models else f"lists no model ({seen.detail})"
        raise UsageError(f"The server at {base_url} {which}. Which one?", "Name it: --model NAME.")
    asked = spec.model.removeprefix(_OLLAMA_PREFIX) if seen.kind == OLLAMA else spec.model
    listed = _listed(seen, asked)
    if listed is not None:
        return listed
    if seen.kind == OLLAMA:
        return parse_name(asked).short
    if seen.status == _LOADING:
        return asked
    raise UsageError(
        f"The server at {base_url} has no model {asked!r}.{did_you_mean(asked, list(seen.models))}",
        f"It lists {known or 'none'}.",
    )
