"""What Ollama is given of a model: links, a manifest, and nothing of what the user has is changed."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.artifacts import PinnedFile
from provision.domain.model import Model, ModelShape
from provision.domain.ollama_name import names_match, parse_name
from provision.domain.safe_name import client_name
from provision.engines.ollama_arrange import MANIFEST, arrange, why_not_arranged
from provision.engines.ollama_manifest import MODEL_TYPE, PARAMETERS_TYPE, parse_manifest, without_context
from provision.engines.ollama_store import blob_path, list_models, manifest_path
from provision.host import files
from provision.host.hashed import NOTE
from tests.standin.ollama_registry import OllamaRegistry
from tests.unit.engines.conftest import spoilt

SHAPE = ModelShape("llama", 30, 3, 64, 64, 8192)
GGUF = b"GGUF and so on"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def of_the_user(path: Path, data: bytes = GGUF) -> Model:
    path.write_bytes(data)
    return Model("mine", f"file:{path}", "gguf", "Q4_0", len(data), None, SHAPE, path=str(path))


def of_a_registry(store: Path, parameters: bytes = b'{"stop":["x"]}') -> tuple[Model, Path]:
    """A model as it lies in the store, and its GGUF."""
    registry = OllamaRegistry()
    manifest = registry.add("tiny:1b", (MODEL_TYPE, GGUF), (PARAMETERS_TYPE, parameters))
    found = {f"blobs/{digest.replace(':', '-')}": data for digest, data in registry.blobs.items()}
    found = dict(sorted(found.items(), key=lambda pair: pair[1] != GGUF)) | {MANIFEST: manifest}
    for name, data in found.items():
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_bytes(data)
    pinned = tuple(PinnedFile(name, (f"http://x/{name}",), len(data), sha256(data)) for name, data in found.items())
    model = Model("tiny-1b", "ollama:tiny:1b", "gguf", None, 1, None, SHAPE, files=pinned)
    return model, store / pinned[0].path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "var" / "models"


def test_a_file_of_the_users_is_linked_and_left_as_it_was(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    model = of_the_user(path)
    path.chmod(0o444)
    before = path.stat()
    arrange(models, model, path)
    assert blob_path(models, sha256(GGUF)).samefile(path)
    after = path.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_ino) == (before.st_mode, before.st_mtime_ns, before.st_ino)
    assert [kept.name for kept in list_models(models)] == ["mine:latest"]
    assert spoilt(models, "mine") == []
    assert why_not_arranged(models, model, path) == ""


def test_across_file_systems_it_is_a_copy_that_is_watched_like_a_link(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_linked", lambda *_: False)
    path = tmp_path / "mine.gguf"
    model = of_the_user(path)
    arrange(models, model, path)
    blob = blob_path(models, sha256(GGUF))
    assert not blob.samefile(path)
    assert stat.S_IMODE(blob.stat().st_mode) == 0o600
    assert why_not_arranged(models, model, path) == ""
    blob.write_bytes(GGUF[::-1])
    assert why_not_arranged(models, model, path)
    arrange(models, model, path)
    assert blob.read_bytes() == GGUF


@pytest.mark.parametrize("replaced", [True, False])
def test_a_file_that_the_user_changes_is_hashed_anew(models: Path, tmp_path: Path, replaced: bool) -> None:
    path = tmp_path / "mine.gguf"
    model = of_the_user(path)
    arrange(models, model, path)
    if replaced:
        path.rename(tmp_path / "old")
    path.write_bytes(b"GGUF of another kind")
    os.utime(path, ns=(1, 1))
    assert "changed" in why_not_arranged(models, model, path)
    arrange(models, model, path)
    assert [kept.manifest.model.sha256 for kept in list_models(models) if kept.manifest.model] == [
        sha256(b"GGUF of another kind")
    ]
    assert spoilt(models, "mine") == []


def test_a_note_that_makes_no_sense_is_no_note(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    model = of_the_user(path)
    arrange(models, model, path)
    models.with_name(NOTE).write_bytes(b"{")
    assert why_not_arranged(models, model, path)
    arrange(models, model, path)
    assert why_not_arranged(models, model, path) == ""


def test_all_files_of_a_registrys_model_are_linked_and_its_manifest_is_the_registrys(
    models: Path, tmp_path: Path
) -> None:
    model, place = of_a_registry(tmp_path / "store")
    arrange(models, model, place)
    (kept,) = list_models(models)
    assert kept.name == "tiny-1b:latest"
    assert manifest_path(models, "tiny-1b").read_bytes() == (tmp_path / "store" / MANIFEST).read_bytes()
    for blob in kept.manifest.blobs:
        assert blob_path(models, blob.sha256).samefile(tmp_path / "store" / "blobs" / f"sha256-{blob.sha256}")
    assert why_not_arranged(models, model, place) == ""


def test_a_context_that_the_model_brings_does_not_win_over_the_chosen_one(models: Path, tmp_path: Path) -> None:
    model, place = of_a_registry(tmp_path / "store", b'{"num_ctx": 2048, "stop": ["x"]}')
    arrange(models, model, place)
    (kept,) = list_models(models)
    (layer,) = [layer for layer in kept.manifest.layers if layer.media_type == PARAMETERS_TYPE]
    assert json.loads(blob_path(models, layer.sha256).read_bytes()) == {"stop": ["x"]}
    assert spoilt(models, "tiny-1b") == []
    assert why_not_arranged(models, model, place) == ""
    blob_path(models, layer.sha256).write_bytes(b"{}")
    assert why_not_arranged(models, model, place)


@pytest.mark.parametrize("manifest", [b"", b"{", b"[]", b"{}", b'{"layers": 1}', b'{"layers": [1]}', b'{"layers": []}'])
def test_a_manifest_that_cannot_be_read_stays_as_it_is(manifest: bytes) -> None:
    assert without_context(manifest, lambda _: b"") == (manifest, {})


@pytest.mark.parametrize("parameters", [b"", b"[]", b"{}", b'{"stop": []}', b"1"])
def test_parameters_without_a_context_stay_as_they_are(parameters: bytes) -> None:
    manifest = OllamaRegistry().add("x:1", (PARAMETERS_TYPE, parameters))
    assert without_context(manifest, lambda _: parameters) == (manifest, {})
    assert parse_manifest(manifest).layers


def unlink_model(models: Path, model: Model) -> None:
    blob_path(models, sha256(GGUF)).unlink()


def unlink_manifest(models: Path, model: Model) -> None:
    manifest_path(models, model.name).unlink()


def spoil_manifest(models: Path, model: Model) -> None:
    manifest_path(models, model.name).write_bytes(b"{}")


def exchange_model(models: Path, model: Model) -> None:
    blob_path(models, sha256(GGUF)).unlink()
    blob_path(models, sha256(GGUF)).write_bytes(GGUF)


@pytest.mark.parametrize("damage", [unlink_model, unlink_manifest, spoil_manifest, exchange_model])
def test_what_was_damaged_is_told_and_repaired(
    models: Path, tmp_path: Path, damage: Callable[[Path, Model], None]
) -> None:
    model, place = of_a_registry(tmp_path / "store")
    arrange(models, model, place)
    damage(models, model)
    assert why_not_arranged(models, model, place)
    arrange(models, model, place)
    assert why_not_arranged(models, model, place) == ""
    assert spoilt(models, model.name) == []
    assert place.read_bytes() == GGUF


def test_another_model_takes_the_place_of_the_first_which_stays_in_the_store(models: Path, tmp_path: Path) -> None:
    model, place = of_a_registry(tmp_path / "store")
    arrange(models, model, place)
    other = of_the_user(tmp_path / "mine.gguf", b"GGUF other")
    arrange(models, other, tmp_path / "mine.gguf")
    assert [kept.name for kept in list_models(models)] == ["mine:latest"]
    assert not blob_path(models, sha256(GGUF)).exists()
    assert place.read_bytes() == GGUF
    assert why_not_arranged(models, model, place)


def test_a_model_that_is_not_there_yet_is_not_arranged(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "absent.gguf"
    absent = replace(of_the_user(tmp_path / "x"), path=str(path))
    assert why_not_arranged(models, absent, path)
    assert why_not_arranged(models, replace(absent, path=None, sha256="0" * 64), path)


@given(st.text())
def test_every_name_for_clients_is_one_that_ollama_takes(text: str) -> None:
    name = client_name(text)
    assert parse_name(name).model == name
    assert names_match(f"{name}:latest", name)
    assert client_name(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Qwen3.5-0.8B-Q4_K_M", "Qwen3.5-0.8B-Q4_K_M"),
        ("My model (v2)", "My-model-v2"),
        ("org/name:tag", "org-name-tag"),
        (".hidden", "hidden"),
        ("模型", "model"),
        ("x" * 200, "x" * 80),
    ],
)
def test_a_name_keeps_what_it_can(text: str, name: str) -> None:
    assert client_name(text) == name
