"""Where requests for a model go: one table (``profiles/routes.yaml``), and the rules that choose a row of it. Pure.

The first rule that speaks of a model decides:

1. HARNESS_ENDPOINTS lists it: the address, name and backend that stand there.
2. It begins with the name of a backend and a slash: that backend.
3. VLLM_MODEL_MAP is set: what it lists goes to vLLM, everything else to Ollama.
4. The backend that INFERENCE_BACKEND names, else the default one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field
from functools import cached_property

from provision.client.endpoints import ENDPOINTS, MODEL_MAP, backend_url, read_endpoints, read_model_map, value
from provision.client.names import is_listed, known_as
from provision.domain.frozen import frozen
from provision.errors import UsageError, did_you_mean
from provision.knowledge.models import Catalog, load_catalog
from provision.knowledge.routes import Backend, Routes, load_routes

DEFAULT_BACKEND = "INFERENCE_BACKEND"
_LIKENESS = 0.75  # of a prefix to a backend's name: organisations of the hub stand before a slash, too


@frozen
class Route:
    """Where requests for ``model`` go: to ``base_url``, which ends in ``/v1``, for ``model_id``.

    ``backend`` is a row of the table; ``api_key`` is what the variable ``api_key_env`` holds, or a harmless word where
    that is nothing, as ``has_key`` tells; ``rule`` is a sentence that tells which rule decided.
    """

    model: str
    model_id: str
    backend: str
    base_url: str
    api_key_env: str
    api_key: str = field(repr=False)
    has_key: bool
    rule: str


def route(model: str, env: Mapping[str, str] = os.environ, catalog: Catalog | None = None) -> Route:
    """Return where requests for ``model`` go.

    ``catalog`` is the table of names, that of fabric where it is left out.

    Raises ``UsageError`` for a model without a name, or a backend or address that is none, ``InvalidInputError`` for
    variables that cannot be read, and ``RefusedError`` for addresses that nothing may be sent to.
    """
    name = model.strip()
    if not name:
        raise UsageError("No model is named.", "Name one, such as qwen3:4b or vllm/Qwen/Qwen3-4B.")
    rules = _Rules(env, catalog)
    return rules.listed(name) or rules.prefixed(name) or rules.mapped(name) or rules.default(name)


def default_route(env: Mapping[str, str] = os.environ, catalog: Catalog | None = None) -> Route:
    """Return where requests go that name no model, such as for a list of them. Raises as ``route``."""
    rules = _Rules(env, catalog)
    return rules.mapped("") or rules.default("")


def near_prefix(model: str) -> str:
    """Return ``" Did you mean 'ollama'?"`` for a model that begins almost like those of a backend, else nothing."""
    prefix, slash, _ = model.strip().partition("/")
    routes = load_routes()
    return did_you_mean(prefix.casefold(), routes.names, _LIKENESS) if slash and not routes.find(prefix) else ""


@frozen
class _Rules:
    env: Mapping[str, str]
    given_catalog: Catalog | None

    @cached_property
    def routes(self) -> Routes:
        return load_routes()

    @cached_property
    def model_map(self) -> dict[str, str]:
        return read_model_map(self.env)

    def listed(self, model: str) -> Route | None:
        found = read_endpoints(self.env, self.routes).get(model)
        if found is None:
            return None
        rule = f"{ENDPOINTS} lists this model."
        if found.model_id is None:
            return self._translated(found.backend, found.base_url, model, model, rule)
        return self._at(found.backend, found.base_url, model, found.model_id, rule)

    def prefixed(self, model: str) -> Route | None:
        prefix, slash, name = model.partition("/")
        backend = self.routes.find(prefix) if slash else None
        if backend is None:
            return None
        if not name.strip():
            raise UsageError(f"{model!r} names a backend and no model.", f"Write it like {prefix}/qwen3:4b.")
        return self._to(backend, model, name.strip(), f"The prefix {prefix}/ names the backend.")

    def mapped(self, model: str) -> Route | None:
        if not self.model_map:
            return None
        listed, rest = self.routes.known_by("huggingface"), self.routes.known_by("ollama")
        if is_listed(model, self.model_map):
            return self._to(listed, model, model, f"{MODEL_MAP} lists this model.")
        return self._to(rest, model, model, f"{MODEL_MAP} does not list this model: {rest.name} has the rest.")

    def default(self, model: str) -> Route:
        named = value(self.env, DEFAULT_BACKEND)
        backend = self.routes.find(named or self.routes.default)
        if backend is None:
            near = did_you_mean(named.casefold(), self.routes.names)
            raise UsageError(
                f"{DEFAULT_BACKEND} cannot be used: there is no backend {named!r}.{near}",
                f"Known: {', '.join(self.routes.names)}.",
            )
        said = f"{DEFAULT_BACKEND} names the backend." if named else "Nothing says where: it is the default backend."
        return self._to(backend, model, model, said)

    def _to(self, backend: Backend, model: str, name: str, rule: str) -> Route:
        """Return the way to a row of the table, at the address of its variable."""
        return self._translated(backend, backend_url(backend, self.env), model, name, rule)

    def _translated(self, backend: Backend, base_url: str, model: str, name: str, rule: str) -> Route:
        """Return the way to ``base_url``, with the name that servers of this backend have for a model."""
        known = known_as(name, backend, self.model_map, self._catalog)
        rule = f"{rule} {known.source} has its name there." if known.source else rule
        return self._at(backend, base_url, model, known.name, rule)

    def _at(self, backend: Backend, base_url: str, model: str, model_id: str, rule: str) -> Route:
        key = value(self.env, backend.api_key_env)
        named = backend.api_key_env
        return Route(model, model_id, backend.name, base_url, named, key or backend.api_key, bool(key), rule)

    def _catalog(self) -> Catalog:
        return self.given_catalog or load_catalog()
