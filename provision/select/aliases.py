"""One model under the names of all engines: the catalogue is the table. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from provision.domain.ollama_name import names_match, parse_name
from provision.domain.reference import (
    FileReference,
    HubReference,
    OllamaReference,
    Reference,
    WebReference,
    is_reference,
    parse_reference,
)
from provision.knowledge.models import Catalog, CatalogModel, Variant

GGUF = ".gguf"
_REPOSITORY_ENDS = ("-GGUF", "-gguf")


def find_row(wish: str, catalog: Catalog) -> CatalogModel | None:
    """Return the model of the catalogue that has this name, or that some engine knows by it."""
    by_name = (row for row in catalog.models if row.name == wish)
    by_alias = (row for row in catalog.models if wish in _names_of(row))
    return next(by_name, None) or next(by_alias, None)


def aliases(wish: str, catalog: Catalog) -> tuple[str, ...]:
    """Return the names by which servers may list what ``wish`` means, itself first.

    A reference names files of its own, and has only the names of these. Raises ``UsageError`` for one that is none.
    """
    if is_reference(wish):
        return tuple(dict.fromkeys((wish, *_names(wish))))
    row = find_row(wish, catalog)
    names = (name for name in (_names_of(row) if row else ()) if find_row(name, catalog) is row)
    return tuple(dict.fromkeys((wish, *names)))  # a repository may hold several models: it is the name of the first


def ollama_name(wish: str, catalog: Catalog) -> str | None:
    """Return the name under which Ollama's registry has what ``wish`` means; ``None`` where it is not from there.

    A name that the catalogue does not know is taken for one of Ollama's. Raises ``UsageError`` for what cannot be one.
    """
    row = None if is_reference(wish) else find_row(wish, catalog)
    references = [variant.reference for variant in row.engines.values()] if row else [wish]
    for reference in references:
        if is_reference(reference) and isinstance(parsed := parse_reference(reference), OllamaReference):
            return _tag(parsed)
    return None if row or is_reference(wish) else parse_name(wish).short


def hub_repository(tag: str, catalog: Catalog) -> str | None:
    """Return the repository that vLLM loads for what Ollama has as ``tag``; ``None`` where no row says."""
    for row in catalog.models:
        loaded = _parsed(row.engines.get("vllm"))
        if isinstance(loaded, HubReference) and any(names_match(own, tag) for own in _tags_of(row)):
            return loaded.repository
    return None


def ollama_tag(repository: str, catalog: Catalog) -> str | None:
    """Return how Ollama has the model of which this is a repository on the hub; ``None`` where no row says."""
    rows = (row for row in catalog.models if repository in _repositories_of(row))
    return next((tag for row in rows for tag in _tags_of(row)), None)


def same_name(listed: str, name: str) -> bool:
    """Tell whether a server that lists ``listed`` means ``name``; some list the file that they were started with."""
    return name.casefold() in (listed.casefold(), _stem(listed).casefold())


def _tags_of(row: CatalogModel) -> list[str]:
    parsed = [_parsed(variant) for variant in row.engines.values()]
    return [_tag(reference) for reference in parsed if isinstance(reference, OllamaReference)]


def _repositories_of(row: CatalogModel) -> list[str]:
    parsed = [_parsed(variant) for variant in row.engines.values()]
    return [reference.repository for reference in parsed if isinstance(reference, HubReference)]


def _parsed(variant: Variant | None) -> Reference | None:
    """Return what a variant refers to; ``None`` where there is none, or where it is known by its name alone."""
    return parse_reference(variant.reference) if variant and is_reference(variant.reference) else None


def _names_of(row: CatalogModel) -> tuple[str, ...]:
    return (row.name, *(name for variant in row.engines.values() for name in _variant_names(variant)))


def _variant_names(variant: Variant) -> Iterator[str]:
    if variant.source is not None:
        yield _stem(variant.source.path)
    elif is_reference(variant.reference):
        yield from _names(variant.reference)


def _names(reference: str) -> Iterator[str]:
    parsed = parse_reference(reference)
    if isinstance(parsed, OllamaReference):
        yield _tag(parsed)
    elif isinstance(parsed, HubReference):
        yield from _hub_names(parsed)
    elif isinstance(parsed, WebReference):
        yield _stem(parsed.filename)
    elif isinstance(parsed, FileReference):
        yield _stem(parsed.path)
    else:
        yield _stem(parsed.member)


def _hub_names(reference: HubReference) -> Iterator[str]:
    """Yield the repository, as vLLM lists it, the file, and what Ollama and LM Studio make of the two."""
    yield reference.repository
    if reference.file is not None and reference.file.endswith(GGUF):
        yield _stem(reference.file)
    elif reference.file is not None:
        yield f"hf.co/{reference.repository}:{reference.file}"
    name = reference.repository.partition("/")[2]
    yield next((name.removesuffix(end) for end in _REPOSITORY_ENDS if name.endswith(end)), name)


def _tag(reference: OllamaReference) -> str:
    return parse_name(str(reference).partition(":")[2]).short


def _stem(path: str) -> str:
    """Return the name of a GGUF file without its end; what is no path of one stays as it is."""
    return PurePosixPath(path).name.removesuffix(GGUF) if path.endswith(GGUF) else path
