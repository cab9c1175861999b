"""What the servers of a backend call a model: Ollama's names and those of the hub, one for the other. Pure.

Only a name that is exactly one of the two is translated; any other is what a server lists, and stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from provision.client.endpoints import MODEL_MAP
from provision.domain.ollama_name import names_match
from provision.knowledge.models import Catalog
from provision.knowledge.routes import Backend
from provision.select.aliases import hub_repository, ollama_tag

CATALOGUE = "The catalogue"


class KnownAs(NamedTuple):
    """A name, and which table has it; ``None`` where it is the name that was asked for."""

    name: str
    source: str | None = None


def is_listed(name: str, model_map: Mapping[str, str]) -> bool:
    """Tell whether VLLM_MODEL_MAP lists a model, by either of its names."""
    return name in model_map.values() or _id_of(name, model_map) is not None


def known_as(name: str, backend: Backend, model_map: Mapping[str, str], catalog: Callable[[], Catalog]) -> KnownAs:
    """Return what servers of ``backend`` call ``name``: VLLM_MODEL_MAP (tag to id) before the catalogue."""
    if backend.names == "huggingface" and name not in model_map.values():
        return _first(name, _id_of(name, model_map), lambda: hub_repository(name, catalog()))
    if backend.names == "ollama" and _id_of(name, model_map) is None:
        return _first(name, _tag_of(name, model_map), lambda: ollama_tag(name, catalog()))
    return KnownAs(name)


def _first(name: str, mapped: str | None, catalogued: Callable[[], str | None]) -> KnownAs:
    if mapped is not None:
        return KnownAs(mapped, MODEL_MAP)
    found = catalogued()
    return KnownAs(name) if found is None else KnownAs(found, CATALOGUE)


def _id_of(tag: str, model_map: Mapping[str, str]) -> str | None:
    return next((name for own, name in model_map.items() if own == tag or names_match(own, tag)), None)


def _tag_of(repository: str, model_map: Mapping[str, str]) -> str | None:
    return next((tag for tag, name in model_map.items() if name == repository), None)
