"""What variables say of where models are served, read strictly. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec

from provision.client.base_url import checked
from provision.domain.frozen import frozen
from provision.domain.spec import EXTERNAL
from provision.errors import InvalidInputError, did_you_mean
from provision.knowledge.routes import Backend, Routes

ENDPOINTS, MODEL_MAP = "HARNESS_ENDPOINTS", "VLLM_MODEL_MAP"
_EXAMPLES = {
    ENDPOINTS: '{"qwen3:4b": {"url": "http://127.0.0.1:8000/v1", "model_id": "Qwen/Qwen3-4B", "backend": "vllm"}}',
    MODEL_MAP: '{"qwen3:4b": "Qwen/Qwen3-4B"}',
}
_KEYS = ("url", "model_id", "backend")


@frozen
class Endpoint:
    """Where one model is served, and by which name, ``None`` where that is not told; ``base_url`` is checked."""

    base_url: str
    model_id: str | None
    backend: Backend


def value(env: Mapping[str, str], variable: str) -> str:
    """Return what a variable holds, without blanks around it; an empty one counts as missing."""
    return env.get(variable, "").strip()


def backend_url(backend: Backend, env: Mapping[str, str]) -> str:
    """Return where a backend is: what its variable says, else its usual address. Raises what ``checked`` raises."""
    address = value(env, backend.base_url_env) or backend.base_url
    return _checked(address, backend.base_url_env, backend, env)


def read_endpoints(env: Mapping[str, str], routes: Routes) -> dict[str, Endpoint]:
    """Return the endpoints of HARNESS_ENDPOINTS, by the name of the model.

    Raises ``InvalidInputError`` for what cannot be read, and what ``checked`` raises for an address.
    """
    return {model: _endpoint(model, entry, env, routes) for model, entry in _read(env, ENDPOINTS).items()}


def read_model_map(env: Mapping[str, str]) -> dict[str, str]:
    """Return VLLM_MODEL_MAP: names as Ollama has them, and the ids under which vLLM serves these models.

    Raises ``InvalidInputError`` for what cannot be read.
    """
    found = _read(env, MODEL_MAP)
    for tag, repository in found.items():
        if not isinstance(repository, str) or not (tag.strip() and repository.strip()):
            _refuse(MODEL_MAP, f"{tag!r} has to stand before the id of a model, a text that is not empty")
    return {tag.strip(): repository.strip() for tag, repository in found.items()}


def _read(env: Mapping[str, str], variable: str) -> dict[str, Any]:
    text = value(env, variable)
    try:
        found = msgspec.json.decode(text) if text else {}
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        why = str(error) if isinstance(error, msgspec.DecodeError) else "it holds what no JSON can hold"
        _refuse(variable, f"it is no JSON: {why.removeprefix('JSON is malformed: ')}")
    if not isinstance(found, dict):
        _refuse(variable, "it is JSON, and no object")
    return found


def _endpoint(model: str, entry: object, env: Mapping[str, str], routes: Routes) -> Endpoint:
    if not isinstance(entry, dict):
        _refuse(ENDPOINTS, f"the entry of {model!r} is no object")
    for key, said in entry.items():
        if key not in _KEYS:
            _refuse(ENDPOINTS, f"the entry of {model!r} has an unknown key {key!r}", did_you_mean(key, _KEYS))
        if not isinstance(said, str) or not said.strip():
            _refuse(ENDPOINTS, f"{key!r} in the entry of {model!r} is no text, or an empty one")
    if "url" not in entry:
        _refuse(ENDPOINTS, f"the entry of {model!r} has no 'url'")
    named = entry.get("backend", EXTERNAL)
    backend = routes.find(named)
    if backend is None:
        near = did_you_mean(named.casefold(), routes.names)
        _refuse(ENDPOINTS, f"the entry of {model!r} names {named!r}, which is no backend", near)
    base_url = _checked(entry["url"], f"The address of {model!r} in {ENDPOINTS}", backend, env)
    return Endpoint(base_url, entry["model_id"].strip() if "model_id" in entry else None, backend)


def _checked(address: str, source: str, backend: Backend, env: Mapping[str, str]) -> str:
    has_key = bool(value(env, backend.api_key_env))
    return checked(address, source, key_place=backend.api_key_env, has_key=has_key)


def _refuse(variable: str, why: str, near: str = "") -> NoReturn:
    raise InvalidInputError(f"{variable} cannot be used: {why}.{near}", f"Write it like {_EXAMPLES[variable]}")
