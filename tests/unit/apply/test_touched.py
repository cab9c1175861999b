from __future__ import annotations

import os
from pathlib import Path

import pytest

from provision.apply import records
from provision.apply.records import record, why_damaged
from provision.apply.touched import put_back, recognized
from provision.domain.resource import Kind
from provision.domain.state import StoreEntry
from provision.host.layout import Layout


@pytest.fixture
def model(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is too large to be read each time."""
    monkeypatch.setattr(records, "REHASH_BYTES", 3)
    layout.models.mkdir()
    path = layout.models / "abc.gguf"
    path.write_bytes(b"GGUF")
    path.chmod(0o600)
    return path


def entry_of(layout: Layout, model: Path) -> StoreEntry:
    return record(layout, "model", "m", model)


def test_a_large_file_that_was_touched_is_what_it_was(layout: Layout, model: Path) -> None:
    entry, was = entry_of(layout, model), model.stat()
    os.utime(model, ns=(1, 1))
    model.chmod(0o644)
    assert why_damaged(layout, entry) == "abc.gguf was touched"
    said: list[str] = []
    assert recognized(layout, {entry.key: entry}, [entry.key], said.append) == {Kind.MODEL}
    assert why_damaged(layout, entry) == ""
    assert (model.stat().st_mtime_ns, model.stat().st_mode) == (was.st_mtime_ns, was.st_mode)
    assert len(said) == 1


@pytest.mark.parametrize("now", [b"GGUX", b"GGUF and more", None], ids=["changed", "longer", "missing"])
def test_what_is_not_what_it_was_has_to_be_made_anew(layout: Layout, model: Path, now: bytes | None) -> None:
    entry = entry_of(layout, model)
    model.unlink() if now is None else model.write_bytes(now)
    assert recognized(layout, {entry.key: entry}, [entry.key], lambda _: None) == set()
    assert why_damaged(layout, entry)


def test_one_that_is_damaged_is_not_made_up_for_by_another_that_was_touched(layout: Layout, model: Path) -> None:
    other = layout.models / "abc.safetensors"
    other.write_bytes(b"other")
    entries = [entry_of(layout, model), entry_of(layout, other)]
    os.utime(model, ns=(1, 1))
    other.unlink()
    assert (
        recognized(layout, {each.key: each for each in entries}, [each.key for each in entries], lambda _: None)
        == set()
    )
    assert why_damaged(layout, entries[0]) == ""


def test_a_directory_that_others_could_write_to_is_its_owners_again(layout: Layout) -> None:
    engine = layout.engines / "llamacpp-1-abc"
    engine.mkdir(parents=True)
    (engine / "program").touch()
    entry = record(layout, "engine", "llamacpp", engine)
    engine.chmod(0o777)
    assert why_damaged(layout, entry)
    put_back(engine, layout.prefix, entry)
    assert why_damaged(layout, entry) == ""
