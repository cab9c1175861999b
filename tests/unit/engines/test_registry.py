"""One list of names, one class for each."""

from __future__ import annotations

from provision.domain.spec import AUTO, BACKENDS, ENGINE_NAMES
from provision.engines.registry import ENGINES
from provision.knowledge.engine_files import load_engine_file


def test_every_engine_can_be_asked_for_and_what_can_be_installed_is_one() -> None:
    assert {AUTO, *ENGINES} <= set(BACKENDS)
    files = {name: load_engine_file(name) for name in ENGINE_NAMES}
    assert {name for name, file in files.items() if file.releases or file.program} <= set(ENGINES)


def test_an_engine_installs_what_its_own_file_lists() -> None:
    for name, engine in ENGINES.items():
        assert engine.name == name
        for release in engine.releases():
            assert release.engine == name
            assert release in load_engine_file(name).releases
