"""One list of names, one class for each."""

from __future__ import annotations

from provision.domain.spec import AUTO, BACKENDS
from provision.engines.registry import ENGINES
from provision.knowledge.engine_files import load_engine_file


def test_every_backend_that_can_be_asked_for_is_an_engine() -> None:
    assert {AUTO, *ENGINES} == set(BACKENDS)


def test_an_engine_installs_what_its_own_file_lists() -> None:
    for name, engine in ENGINES.items():
        assert engine.name == name
        for release in engine.releases():
            assert release.engine == name
            assert release in load_engine_file(name).releases
