"""Taking a machine along and asking it again: the same facts, but for what is taken out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from provision.domain.facts import Facts
from provision.errors import InvalidInputError
from provision.facts.detect import detect
from provision.facts.replayed import PREFIX, read_replay
from provision.host.bundle import pack
from provision.host.capture import CapturingMachine
from provision.host.capture_files import encode, write
from provision.host.machine import LocalMachine, Machine
from provision.host.redaction import Identity, Redactor, read_identity
from provision.host.replay import ReplayMachine

HOSTS = sorted(path for path in (Path(__file__).parents[2] / "hosts").iterdir() if path.is_dir())
SOMEBODY = Identity(
    users=("alicex",), homes=("/home/alicex",), hosts=("pelican7.corp.acme.example",), secrets=("Tr0ub4dor&3x",)
)
# Names that also are words of the formats, of tools and of devices.
TRICKY = (
    "max",
    "core",
    "render",
    "nvidia",
    "amdgpu",
    "ubuntu",
    "memory",
    "pat",
    "model",
    "cuda",
    "video",
    "root",
    "apple",
)


def document(facts: Facts) -> Any:
    """Everything but how long the probes took, and which of those that run side by side ended first."""
    told = json.loads(msgspec.json.encode(facts))
    for probe in told["probes"]:
        del probe["duration_ms"]
    told["probes"].sort(key=lambda probe: str(probe["name"]))
    return told


def taken(machine: Machine, prefix: str, redactor: Redactor | None = None) -> tuple[Facts, Mapping[str, bytes]]:
    capturing = CapturingMachine(machine)
    facts = detect(capturing, prefix)
    capture = capturing.capture(prefix, "a test")
    return facts, encode(capture.redacted(redactor) if redactor else capture)


@pytest.mark.parametrize("host", HOSTS, ids=lambda path: path.name)
def test_a_capture_of_a_captured_machine_is_the_same_machine(host: Path, tmp_path: Path) -> None:
    facts, files = taken(ReplayMachine(host, strict=True), "/prefix")
    write(files, tmp_path / "again")
    assert (
        document(read_replay(tmp_path / "again")) == document(facts) == document(detect(ReplayMachine(host), "/prefix"))
    )
    assert document(detect(ReplayMachine(tmp_path / "again", strict=True), "/prefix")) == document(facts)


@pytest.mark.parametrize("host", HOSTS, ids=lambda path: path.name)
def test_redaction_changes_no_other_fact(host: Path, tmp_path: Path) -> None:
    redactor = Redactor(SOMEBODY)
    facts, files = taken(ReplayMachine(host), "/home/alicex/.local/share/fabric", redactor)
    write(files, tmp_path / "redacted")
    again = read_replay(tmp_path / "redacted")
    assert document(again) == redactor.document(document(facts))
    assert again.disk.path == "/home/user/.local/share/fabric"


@pytest.mark.parametrize("host", HOSTS, ids=lambda path: path.name)
def test_a_user_named_like_a_device_or_a_file_costs_no_fact(host: Path, tmp_path: Path) -> None:
    users = Identity(TRICKY, tuple(f"/home/{name}" for name in TRICKY), TRICKY, TRICKY, TRICKY)
    facts, files = taken(ReplayMachine(host), "/prefix", Redactor(users))
    write(files, tmp_path / "redacted")
    nobody = Redactor(Identity())
    assert nobody.document(document(read_replay(tmp_path / "redacted"))) == nobody.document(document(facts))


@pytest.mark.parametrize("place", ["below the home", "elsewhere"])
def test_this_machine_taken_along_is_this_machine(tmp_path: Path, place: str) -> None:
    redactor = Redactor(read_identity(os.environ))
    prefix = str(Path.home() / "fabric" if place == "below the home" else tmp_path / "fabric")
    facts, files = taken(LocalMachine(), prefix, redactor)
    write(files, tmp_path / "capture")
    assert document(read_replay(tmp_path / "capture")) == redactor.document(document(facts))
    assert facts.cpu.model == read_replay(tmp_path / "capture").cpu.model


def test_what_nobody_asked_for_is_not_taken(tmp_path: Path) -> None:
    canary = {"CANARY": "kept-to-myself", "MY_OTHER_VARIABLE": "kept-to-myself", "CUDA_VISIBLE_DEVICES": "0"}
    _, files = taken(LocalMachine({**os.environ, **canary}), str(tmp_path))
    assert b"kept-to-myself" not in b"".join(files.values())
    assert json.loads(files["env.json"])["CUDA_VISIBLE_DEVICES"] == "0"


def test_a_capture_that_does_not_say_where_its_prefix_was(tmp_path: Path) -> None:
    (tmp_path / "platform.json").write_text('{"system": "Linux", "machine": "x86_64", "free_bytes": 5}')
    assert read_replay(tmp_path).disk.path == PREFIX


@pytest.mark.parametrize("inside", ["", "capture/", "my-host/", "report/capture/"])
def test_an_archive_and_an_unpacked_one_are_as_good_as_a_directory(tmp_path: Path, inside: str) -> None:
    facts, files = taken(ReplayMachine(HOSTS[-1]), "/prefix")
    packed = {f"{inside}{name}": data for name, data in files.items()}
    (tmp_path / "report.tar.gz").write_bytes(pack(packed))
    for name, data in packed.items():
        (tmp_path / "unpacked" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "unpacked" / name).write_bytes(data)
    assert document(read_replay(tmp_path / "report.tar.gz")) == document(facts)
    assert document(read_replay(tmp_path / "unpacked")) == document(facts)


def test_a_directory_of_several_captures_is_not_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="several captures"):
        read_replay(HOSTS[0].parent)
    with pytest.raises(InvalidInputError, match=r"platform\.json is missing"):
        read_replay(tmp_path)
