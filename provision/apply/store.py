"""Where what is installed lies: named by its content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from provision.domain.engine import EngineRelease
from provision.domain.model import Model
from provision.domain.resource import Kind
from provision.domain.selection import Selection
from provision.domain.state import StoreEntry
from provision.engines.engine import Engine
from provision.host.layout import Layout
from provision.plan.desired import Paths

_KEY_CHARACTERS = 12


def engine_path(layout: Layout, release: EngineRelease, provided: tuple[str, ...]) -> Path:
    """Return where a release lies: its name says what is in it."""
    import hashlib

    key = hashlib.sha256("\n".join(_content(release, provided)).encode()).hexdigest()[:_KEY_CHARACTERS]
    version = release.method.value if release.path else release.version  # what it turns out to be does not move it
    return layout.engines / f"{release.engine}-{version}-{key}"


def engine_path_of(layout: Layout, selection: Selection) -> Path:
    """Return where the engine of a selection lies."""
    return engine_path(layout, selection.release, selection.provided_libraries)


def _content(release: EngineRelease, provided: tuple[str, ...]) -> Iterator[str]:
    """Yield what decides what is in the tree: the hashes of all that goes into it."""
    if release.wheel:
        yield release.wheel.sha256
    yield from (str(lib.source.sha256) for lib in release.libraries if lib.name in provided)
    yield from (wheel.sha256 for wheel in release.wheels)
    yield from (file.sha256 or file.urls[0] for file in release.files)
    yield from (release.sdist.sha256, *release.isa) if release.sdist else ()
    yield from (release.path,) if release.path else ()


def model_path(layout: Layout, model: Model) -> Path:
    """Return where a model lies: in the store by its content, or where the user keeps it."""
    if model.path:
        return Path(model.path)
    return layout.models / f"{model_key(model)}.{model.format}"


def model_file(layout: Layout, model: Model) -> Path:
    """Return what an engine is told to load: the file, the first of its parts, or the directory of a whole model."""
    place = model_path(layout, model)
    return place / model.files[0].path if model.format == "gguf" and len(model.files) > 1 else place


def converted_path(layout: Layout, engine: Engine, model: Model) -> Path:
    """Return where the form of a model lies that only this engine needs."""
    key = model_key(model)
    return layout.models / f"{key}.{engine.converted(model)}"


def loaded_path(layout: Layout, engine: Engine, model: Model) -> Path:
    """Return what this engine loads."""
    return converted_path(layout, engine, model) if engine.converted(model) else model_file(layout, model)


def model_key(model: Model) -> str:
    """Return what a model is named by: the hash of its one file, or of the list of its files."""
    if model.sha256:
        return model.sha256
    import hashlib

    listed = [f"{file.sha256 or file.urls[0]} {file.path}" for file in model.files] or [model.reference]
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def paths_of(layout: Layout, engine: Engine, selection: Selection, generation: int) -> Paths:
    """Return where the parts of one generation lie."""
    return Paths(
        engine=engine_path_of(layout, selection),
        model=loaded_path(layout, engine, selection.model),
        generation=layout.generation(generation),
        state=layout.engine_state(selection.backend),
        api_key=layout.api_key,
    )


def unrecorded(layout: Layout, entries: Iterable[StoreEntry]) -> Iterator[tuple[Kind, Path]]:
    """Yield what lies in the store and belongs to none of its ``entries``."""
    known = {layout.prefix / entry.path for entry in entries}
    for kind, directory in ((Kind.ENGINE, layout.engines), (Kind.MODEL, layout.models)):
        for path in sorted(directory.iterdir()) if directory.is_dir() else ():
            if path not in known:
                yield kind, path


def known_by(layout: Layout, entries: Mapping[str, StoreEntry], wish: str, model: Model) -> dict[str, StoreEntry]:
    """Return the entries, of which that of ``model``, if there is one, is known as ``wish`` from now on."""
    entry = None if model.path else entries.get(model_path(layout, model).name)
    if entry is None:
        return {**entries}
    return {**entries, entry.key: replace(entry, known_as={**entry.known_as, wish: model})}


def merged(old: StoreEntry | None, new: StoreEntry) -> StoreEntry:
    """Return an entry that was made again, still known as what it was known as before."""
    if old is None:
        return new
    return replace(new, known_as={**old.known_as, **new.known_as}, pulled=new.pulled or old.pulled)
