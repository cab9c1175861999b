"""Ollama's directory of models: what we write, it serves; what it writes, we read; nothing leaves the directory."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.model import Model, ModelShape
from provision.engines import ollama_store
from provision.engines.ollama_api import OllamaApi
from provision.engines.ollama_arrange import arrange
from provision.engines.ollama_manifest import MODEL_TYPE, parse_manifest
from provision.errors import FabricError, InvalidInputError, RefusedError, UsageError
from tests.standin.ollama_registry import OllamaRegistry
from tests.standin.ollama_server import OllamaServer
from tests.unit.engines.conftest import Connect, Gguf, Start, spoilt, tiny_gguf, write_gguf


def offered(registry: OllamaRegistry, model: str, data: bytes) -> tuple[bytes, dict[str, bytes]]:
    """The manifest and the blobs that a fetcher of ours would bring from the registry."""
    manifest = registry.add(model, (MODEL_TYPE, data))
    return manifest, {digest.partition(":")[2]: blob for digest, blob in registry.blobs.items()}


def put(models: Path, store: Path, name: str, manifest: bytes, blobs: dict[str, bytes]) -> ollama_store.KeptModel:
    store.mkdir(exist_ok=True)
    for sha256, data in blobs.items():
        (store / sha256).write_bytes(data)
        ollama_store.put_blob(models, store / sha256, sha256)
    return ollama_store.write_manifest(models, name, manifest)


@pytest.fixture
def fetched(tmp_path: Path) -> tuple[Path, ollama_store.KeptModel]:
    """A models directory with one model that we put there."""
    manifest, blobs = offered(OllamaRegistry(), "tiny:1b", tiny_gguf())
    return tmp_path / "models", put(tmp_path / "models", tmp_path / "store", "tiny:1b", manifest, blobs)


def test_a_manifest_is_kept_byte_for_byte_and_blobs_are_one_copy(tmp_path: Path) -> None:
    registry, models = OllamaRegistry(), tmp_path / "models"
    manifest, blobs = offered(registry, "tiny:1b", tiny_gguf())
    kept = put(models, tmp_path / "store", "tiny:1b", manifest, blobs)
    path = models / "manifests/registry.ollama.ai/library/tiny/1b"
    assert path.read_bytes() == manifest
    assert kept.sha256 == hashlib.sha256(manifest).hexdigest()
    for sha256 in blobs:
        assert (models / f"blobs/sha256-{sha256}").samefile(tmp_path / "store" / sha256)
    assert spoilt(models, "tiny:1b") == []
    assert ollama_store.list_models(models) == (kept,)


def test_on_another_file_system_a_blob_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_gguf(tmp_path / "own.gguf", tiny_gguf())

    def refused(*_: Any, **__: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    assert not ollama_store.put_blob(tmp_path / "models", file.path, file.sha256)
    blob = ollama_store.blob_path(tmp_path / "models", file.sha256)
    assert blob.read_bytes() == file.path.read_bytes()
    assert not blob.samefile(file.path)
    assert [path.name for path in blob.parent.iterdir()] == [blob.name]


def test_a_blob_that_is_there_stays_and_one_of_another_size_is_replaced(tmp_path: Path) -> None:
    file, models = write_gguf(tmp_path / "own.gguf", tiny_gguf()), tmp_path / "models"
    blob = ollama_store.blob_path(models, file.sha256)
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"half of it")
    assert ollama_store.put_blob(models, file.path, file.sha256)
    before = blob.stat().st_ino
    assert ollama_store.put_blob(models, file.path, file.sha256)
    assert blob.stat().st_ino == before


def test_a_manifest_without_all_its_blobs_is_not_written(tmp_path: Path) -> None:
    manifest, _ = offered(OllamaRegistry(), "tiny", tiny_gguf())
    with pytest.raises(RefusedError, match="missing"):
        ollama_store.write_manifest(tmp_path, "tiny", manifest)
    assert not (tmp_path / "manifests").exists()


def test_a_manifest_that_is_broken_is_of_no_model(fetched: tuple[Path, ollama_store.KeptModel]) -> None:
    models, _ = fetched
    ollama_store.manifest_path(models, "tiny:1b").write_bytes(b'{"schemaVersion": 2, "lay')
    assert ollama_store.list_models(models) == ()


def test_a_model_goes_with_its_blobs_but_not_those_of_others(fetched: tuple[Path, ollama_store.KeptModel]) -> None:
    models, kept = fetched
    ollama_store.write_manifest(models, "me/second", ollama_store.manifest_path(models, "tiny:1b").read_bytes())
    ollama_store.remove_model(models, "tiny:1b")
    assert spoilt(models, "me/second") == []
    assert not (models / "manifests/registry.ollama.ai/library").exists()
    ollama_store.remove_model(models, "me/second")
    assert list((models / "blobs").iterdir()) == []
    assert (models.parent / "store" / kept.manifest.blobs[0].sha256).exists()
    with pytest.raises(UsageError):
        ollama_store.remove_model(models, "me/second")


def test_no_blob_goes_while_a_manifest_cannot_be_read(fetched: tuple[Path, ollama_store.KeptModel]) -> None:
    models, kept = fetched
    broken = ollama_store.manifest_path(models, "broken")
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"{")
    ollama_store.remove_model(models, "tiny:1b")
    assert ollama_store.blob_path(models, kept.manifest.blobs[0].sha256).exists()


@pytest.mark.parametrize("name", ["../x", "a/../../b", "/etc/x", "x:../y"])
def test_names_do_not_leave_the_directory(tmp_path: Path, name: str) -> None:
    for act in (ollama_store.remove_model, ollama_store.manifest_path):
        with pytest.raises(UsageError):
            act(tmp_path, name)
    with pytest.raises(InvalidInputError):
        ollama_store.blob_path(tmp_path, f"../{'0' * 61}")


def manifest(**changes: Any) -> bytes:
    layer = {"mediaType": MODEL_TYPE, "digest": f"sha256:{'0' * 64}", "size": 1}
    whole = {"schemaVersion": 2, "config": layer, "layers": [layer]}
    return json.dumps({**whole, **changes}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"null", b"[]", b"<html>", b"{}", manifest(schemaVersion=1), manifest(layers=[]), manifest(layers={}),
        manifest(layers=[{"digest": "sha256:../../etc/passwd", "size": 1}]),
        manifest(layers=[{"digest": f"sha256-{'0' * 64}", "size": 1}]),
        manifest(layers=[{"digest": f"sha256:{'0' * 64}", "size": -1}]),
        manifest(layers=[{"digest": f"sha256:{'0' * 64}", "size": 1 << 50}]),
        manifest(config={"digest": "md5:00", "size": 1}),
        manifest(padding="x" * (1 << 20)),
    ],
)  # fmt: skip
def test_a_hostile_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        parse_manifest(data)


def test_a_manifest_without_a_config_is_read() -> None:
    assert parse_manifest(manifest(config={"digest": "", "size": 0})).config is None
    assert parse_manifest(manifest(config=None)).config is None


@given(st.binary(max_size=64) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
    lambda value: json.dumps({"schemaVersion": 2, "layers": value}).encode()))  # fmt: skip
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    with pytest.raises(FabricError):
        parse_manifest(data)


# What Ollama and we write, seen by the other.


def arranged(models: Path, file: Gguf) -> None:
    shape = ModelShape("llama", 30, 3, 64, 64, 8192)
    size_bytes = file.path.stat().st_size
    arrange(models, Model("own", "own", "gguf", "Q4_1", size_bytes, file.sha256, shape), file.path)


def test_ollama_serves_what_we_wrote(
    program: Path, start: Start, connect: Connect, tmp_path: Path, model_file: Gguf
) -> None:
    arranged(tmp_path / "models", model_file)
    (kept,) = ollama_store.list_models(tmp_path / "models")
    before = model_file.path.stat()
    client = connect(start(program))
    (listed,) = client.list().models
    assert (listed.model, listed.digest) == ("own:latest", kept.sha256)
    assert listed.details
    assert (listed.details.family, listed.details.quantization_level) == ("llama", "Q4_1")
    answer = client.chat("own", [{"role": "user", "content": "Say hello."}], options={"num_predict": 4})
    assert answer.eval_count == 4
    after = model_file.path.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    client.delete("own")
    assert model_file.path.exists()


def test_we_read_what_ollama_pulled(server: OllamaServer, registry: OllamaRegistry) -> None:
    data = tiny_gguf()
    manifest = registry.add("tiny:1b", (MODEL_TYPE, data))
    OllamaApi(server.client()).pull(registry.name("tiny:1b"))
    (kept,) = ollama_store.list_models(server.models)
    assert kept.name == registry.name("tiny:1b")
    assert kept.sha256 == hashlib.sha256(manifest).hexdigest()
    assert ollama_store.manifest_path(server.models, kept.name).read_bytes() == manifest
    assert spoilt(server.models, kept.name) == []


def test_our_files_and_those_that_ollama_pulls_are_the_same(
    server: OllamaServer, registry: OllamaRegistry, tmp_path: Path
) -> None:
    data, blobs = offered(registry, "tiny:1b", tiny_gguf())
    put(tmp_path / "ours", tmp_path / "store", registry.name("tiny:1b"), data, blobs)
    OllamaApi(server.client()).pull(registry.name("tiny:1b"))

    def tree(root: Path) -> dict[str, bytes]:
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    assert tree(tmp_path / "ours") == tree(server.models)


def test_ollama_keeps_our_blobs_when_it_prunes(program: Path, start: Start, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "own.gguf", tiny_gguf())
    arranged(tmp_path / "models", file)
    unused = tmp_path / "models" / "blobs" / f"sha256-{'0' * 64}"
    unused.write_bytes(b"nobody names this")
    for path in (tmp_path / "models" / "blobs").iterdir():
        os.utime(path, (0, 0))
    start(program)
    assert not unused.exists()
    assert spoilt(tmp_path / "models", "own") == []
