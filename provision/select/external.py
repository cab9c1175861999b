"""The choice where there is none: a server that somebody else runs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from provision.domain.engine import EngineRelease, Method
from provision.domain.fingerprint import OLLAMA, Fingerprint
from provision.domain.frozen import frozen
from provision.domain.model import Model, ModelShape
from provision.domain.ollama_name import names_match
from provision.domain.reference import is_reference
from provision.domain.selection import Fit, Selection
from provision.domain.spec import AUTO, ENGINE_NAMES, EXTERNAL, Spec
from provision.errors import InvalidInputError, UnreachableError, UsageError, did_you_mean
from provision.knowledge.models import Catalog
from provision.select.aliases import aliases, ollama_name, same_name
from provision.select.explain import not_heeded

REMOTE = "remote"
SHOWN_MODELS = 12
_TURNED_AWAY = (401, 403)
_OLLAMA_PREFIX, _FROM_HUB = "ollama:", "hf.co/"
_DIGEST_CHARACTERS = 12
_SET_UP = "whoever runs that server has set it up"
_NOT_HEEDED = (
    *("acceleration", "profile", "context", "threads", "parallel", "kv_cache", "keep_alive"),
    *("host", "port", "install", "service", "linger"),
)


class StillLoadingError(UnreachableError):
    """The server has still to load its model; only then it says by which name, and with which context, it serves it."""

    code = "loading"

    def __init__(self, base_url: str) -> None:
        super().__init__(
            f"The server at {base_url} is still loading its model.",
            "Run the same command again in a moment; `fabric up` waits for it.",
        )


@frozen
class KnownModels:
    """What is known here of models: their names, and their files.

    ``file_of`` returns the model that a wish means as it is here, with path and hash, or ``None`` where it is not.
    """

    catalog: Catalog
    file_of: Callable[[str], Model | None]


def select_external(spec: Spec, base_url: str, seen: Fingerprint, known: KnownModels) -> Selection:
    """Return what is served at ``base_url`` as a selection; ``seen`` is what answered there.

    Raises ``UnreachableError`` where no model server answers, ``StillLoadingError`` where it has still to load its
    model, ``UsageError`` where the model is not clear, or the key
    is missing or not the right one, ``InvalidInputError`` for a file that its Ollama does not take.
    """
    _check(spec, base_url, seen)
    model = _model(spec.model, base_url, seen, known)
    context = seen.contexts.get(model.name, 0)
    release = EngineRelease(
        engine=EXTERNAL,
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
        backend=EXTERNAL,
        acceleration=REMOTE,
        release=release,
        provided_libraries=(),
        model=replace(model, shape=replace(model.shape, context_length=context)),
        context=context,
        parallel=spec.parallel,
        threads=0,
        spin_count=None,
        host="",
        port=0,
        fit=Fit("unknown", 0, None, 0, 0, context),
        why=(f"{base_url} was asked for; {seen.detail}", *not_heeded(spec, _NOT_HEEDED, _SET_UP)),
        why_not=dict.fromkeys(ENGINE_NAMES, "another server is used"),
    )


def lacks_model(selection: Selection, seen: Fingerprint) -> bool:
    """Tell whether the server has still to get the model; only Ollama takes one, from its registry or from here."""
    return seen.kind == OLLAMA and _listed(seen, [selection.model.name]) is None


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
    if seen.loading:
        raise StillLoadingError(base_url)


def _listed(seen: Fingerprint, names: Iterable[str]) -> str | None:
    """Return the name by which the server lists a model that may be called by any of ``names``, the first one first.

    Ollama lists the tag ``latest``, which names may leave out.
    """
    same = names_match if seen.kind == OLLAMA else same_name
    return next((each for name in names for each in seen.models if each == name or same(each, name)), None)


def _model(wish: str, base_url: str, seen: Fingerprint, known: KnownModels) -> Model:
    if wish == AUTO:
        return _of_theirs(_only_one(base_url, seen))
    listed = _listed(seen, _names(wish, seen, known.catalog))
    if listed is not None:
        return _of_theirs(listed)
    if seen.kind == OLLAMA:
        pulled = ollama_name(wish, known.catalog)
        return _of_theirs(pulled) if pulled else _of_ours(wish, base_url, known.file_of(wish))
    raise UsageError(
        f"The server at {base_url} has no model {wish!r}.{did_you_mean(wish, list(seen.models))}",
        f"It lists {_shown(seen) or 'none'}.",
    )


def _names(wish: str, seen: Fingerprint, catalog: Catalog) -> tuple[str, ...]:
    """An Ollama has many models, and one that is called like a file need not be that file: its digest tells."""
    names = aliases(wish, catalog)
    if seen.kind == OLLAMA and is_reference(wish) and not wish.startswith(_OLLAMA_PREFIX):
        return tuple(name for name in names if name.startswith(_FROM_HUB))
    return names


def _only_one(base_url: str, seen: Fingerprint) -> str:
    if len(seen.models) == 1:
        return seen.models[0]
    which = f"lists several models: {_shown(seen)}" if seen.models else f"lists no model ({seen.detail})"
    raise UsageError(f"The server at {base_url} {which}. Which one?", "Name it: --model NAME.")


def _shown(seen: Fingerprint) -> str:
    return ", ".join(seen.models[:SHOWN_MODELS]) + (" …" if len(seen.models) > SHOWN_MODELS else "")


def _of_theirs(name: str) -> Model:
    return Model(name, name, REMOTE, None, 0, None, ModelShape("", 0, 0, 0, 0, 0))


def _of_ours(wish: str, base_url: str, model: Model | None) -> Model:
    """Return the model as it is handed to an Ollama: the digest in its name tells it from all that are there."""
    if model is None:
        raise UsageError(
            f"The Ollama at {base_url} does not have {wish} and cannot fetch it by itself.",
            f"Fetch it first, then it is handed over: fabric models pull {wish}",
        )
    if model.format != "gguf" or model.is_split or model.path is None or model.sha256 is None:
        what = "split into several" if model.is_split else model.format
        raise InvalidInputError(
            f"An Ollama is handed a model as one GGUF file, and {model.name} is {what}.", "Name another file of it."
        )
    name = f"{model.name}:{model.sha256[:_DIGEST_CHARACTERS]}"
    return replace(_of_theirs(name), reference=wish, size_bytes=model.size_bytes, sha256=model.sha256, path=model.path)
