from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from provision.apply.store import engine_path, model_path, record, why_damaged
from provision.domain.state import StoreEntry
from provision.engines.llamacpp import LlamaCpp
from provision.host.layout import Layout
from provision.knowledge.models import load_catalog


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def entry(layout: Layout) -> StoreEntry:
    tree = layout.engines / "llamacpp-1"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin" / "python").write_bytes(b"12345")
    (tree / "lib.so").write_bytes(b"123")
    return record(layout, "engine", "llamacpp", tree)


def test_a_record_says_what_is_there(layout: Layout, entry: StoreEntry) -> None:
    assert (entry.kind, entry.key, entry.path, entry.size_bytes) == ("engine", "llamacpp-1", "engines/llamacpp-1", 8)
    assert [file.path for file in entry.files] == ["bin/python", "lib.so"]
    assert why_damaged(layout, entry) == ""


def test_what_was_never_installed_says_so(layout: Layout) -> None:
    assert why_damaged(layout, None) == "not installed"


@pytest.mark.parametrize("damage", ["missing", "longer", "touched", "all gone"])
def test_damage_is_named(layout: Layout, entry: StoreEntry, damage: str) -> None:
    file = layout.engines / "llamacpp-1" / "bin" / "python"
    if damage == "missing":
        file.unlink()
        assert why_damaged(layout, entry) == "python is missing"
    elif damage == "longer":
        file.write_bytes(b"123456")
        assert why_damaged(layout, entry) == "python has 6 bytes instead of 5"
    elif damage == "touched":
        os.utime(file, ns=(1, 1))
        assert why_damaged(layout, entry) == "python was changed"
    else:
        (layout.engines / "llamacpp-1").rename(layout.prefix / "elsewhere")
        assert "missing" in why_damaged(layout, entry)


def test_a_single_file_is_recorded_as_itself(layout: Layout) -> None:
    layout.models.mkdir()
    (layout.models / "abc.gguf").write_bytes(b"GGUF")
    entry = record(layout, "model", "m", layout.models / "abc.gguf")
    assert [file.path for file in entry.files] == [""]
    assert why_damaged(layout, entry) == ""
    (layout.models / "abc.gguf").unlink()
    assert why_damaged(layout, entry) == "abc.gguf is missing"


def test_the_name_of_an_engine_follows_its_content(layout: Layout) -> None:
    release = next(each for each in LlamaCpp().releases() if each.libraries)
    plain = engine_path(layout, release, ())
    assert plain == engine_path(layout, release, ())
    assert plain != engine_path(layout, release, ("libgomp.so.1",))
    assert release.wheel is not None
    other = replace(release, wheel=replace(release.wheel, sha256="0" * 64))
    assert plain != engine_path(layout, other, ())


def test_a_model_lies_under_its_hash_or_where_the_user_keeps_it(layout: Layout) -> None:
    model = load_catalog().models[0].model("llamacpp")
    assert model is not None
    assert model_path(layout, model).name == f"{model.sha256}.gguf"
    assert model_path(layout, replace(model, path="/home/me/m.gguf")) == Path("/home/me/m.gguf")
