from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from provision.apply.records import REHASH_BYTES, entry_drift, record, why_damaged
from provision.apply.verify import verify
from provision.domain.drift import DriftKind
from provision.domain.state import State, StoreEntry
from provision.host.layout import Layout

PROGRAM = "bin/server"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "prefix")


@pytest.fixture
def tree(layout: Layout) -> Path:
    tree = layout.engines / "llamacpp-1"
    (tree / "bin").mkdir(parents=True)
    (tree / PROGRAM).write_bytes(b"12345")
    (tree / PROGRAM).chmod(0o755)
    (tree / "lib.so").write_bytes(b"123")
    (tree / "lib.so.1").symlink_to("lib.so")
    return tree


@pytest.fixture
def entry(layout: Layout, tree: Path) -> StoreEntry:
    return record(layout, "engine", "llamacpp", tree)


def found(layout: Layout, entry: StoreEntry) -> list[tuple[str, str]]:
    return [(drift.kind.value, drift.detail) for drift in entry_drift(layout, entry)]


def test_a_record_says_what_is_there(layout: Layout, entry: StoreEntry) -> None:
    assert (entry.kind, entry.key, entry.path) == ("engine", "llamacpp-1", "engines/llamacpp-1")
    assert {file.path: (file.mode, file.sha256) for file in entry.files} == {
        PROGRAM: (0o755, hashlib.sha256(b"12345").hexdigest()),
        "lib.so": (0o644, hashlib.sha256(b"123").hexdigest()),
        "lib.so.1": (0o777, hashlib.sha256(b"lib.so").hexdigest()),
    }
    assert found(layout, entry) == []
    assert why_damaged(layout, entry) == ""


def test_what_was_never_installed_says_so(layout: Layout) -> None:
    assert why_damaged(layout, None) == "not installed"


def _other_bytes(file: Path) -> int:
    return file.write_bytes(b"54321")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (Path.unlink, [("missing", "server is missing")]),
        (lambda file: file.write_bytes(b"123456"), [("content", "server has 6 bytes instead of 5")]),
        (_other_bytes, [("content", "server was changed")]),
        (lambda file: os.utime(file, ns=(1, 1)), []),
        (lambda file: file.chmod(0o777), [("mode", "server has mode 0777 instead of 0755")]),
        (lambda file: (_other_bytes(file), file.chmod(0o777)), [("content", "server was changed")]),
        (
            lambda file: (file.unlink(), file.symlink_to("/bin/sh")),
            [("content", "server has 7 bytes instead of 5")],
        ),
        (lambda file: (file.parent / "mine").touch(), [("extra", "bin/mine was added by somebody")]),
    ],
    ids=["missing", "longer", "changed", "touched", "mode", "mode and content", "link", "extra"],
)
def test_each_difference_is_named_by_its_kind(
    layout: Layout, tree: Path, entry: StoreEntry, damage: Callable[[Path], object], told: list[tuple[str, str]]
) -> None:
    damage(tree / PROGRAM)
    assert found(layout, entry) == told
    assert why_damaged(layout, entry) == next((detail for kind, detail in told if kind != "extra"), "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_file_of_another_user_is_told(layout: Layout, tree: Path, entry: StoreEntry) -> None:
    os.chown(tree / PROGRAM, 65534, -1)
    assert found(layout, entry) == [("owner", "server belongs to user 65534")]


def test_a_link_that_leads_elsewhere_now_is_told(layout: Layout, tree: Path, entry: StoreEntry) -> None:
    (tree / "lib.so.1").unlink()
    (tree / "lib.so.1").symlink_to("lib.xx")
    assert found(layout, entry) == [("content", "lib.so.1 was changed")]


def test_a_program_of_others_that_was_swapped_is_told_as_such(layout: Layout, tree: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "python3"
    theirs.write_bytes(b"old")
    (tree / "bin" / "python").symlink_to(theirs)
    entry = record(layout, "engine", "llamacpp", tree, follows_links=True)
    assert found(layout, entry) == []
    theirs.chmod(0o700)
    assert found(layout, entry) == [], "how others keep their files is theirs to decide"
    os.utime(theirs, ns=(1, 1))
    assert found(layout, entry) == [("program", "python was changed")]


def test_of_a_large_file_the_time_tells(layout: Layout, tree: Path) -> None:
    with (tree / PROGRAM).open("r+b") as file:
        file.truncate(REHASH_BYTES + 1)
    entry = record(layout, "engine", "llamacpp", tree)
    os.utime(tree / PROGRAM, ns=(1, 1))
    assert [kind for kind, _ in found(layout, entry)] == ["content"]


def test_a_record_of_an_older_version_is_believed_by_time_and_size(
    layout: Layout, tree: Path, entry: StoreEntry
) -> None:
    old = replace(entry, files=tuple(replace(file, mode=None, sha256=None) for file in entry.files))
    (tree / PROGRAM).chmod(0o700)
    assert found(layout, old) == []
    os.utime(tree / PROGRAM, ns=(1, 1))
    assert found(layout, old) == [("content", "server was changed")]


def test_a_hash_that_is_known_is_not_computed_again(layout: Layout, tree: Path) -> None:
    entry = record(layout, "engine", "llamacpp", tree, known={PROGRAM: "told"})
    assert {file.path: file.sha256 for file in entry.files}[PROGRAM] == "told"


def test_a_single_file_is_recorded_as_itself(layout: Layout) -> None:
    layout.models.mkdir(parents=True)
    model = layout.models / "abc.gguf"
    model.write_bytes(b"GGUF")
    entry = record(layout, "model", "m", model)
    assert [file.path for file in entry.files] == [""]
    (layout.models / "a-model-of-the-users.gguf").touch()
    assert found(layout, entry) == []
    model.unlink()
    assert [(drift.kind, drift.path) for drift in entry_drift(layout, entry)] == [(DriftKind.MISSING, str(model))]


@pytest.mark.parametrize("part", ["", "bin"])
def test_what_lies_behind_a_link_is_not_there(layout: Layout, tree: Path, entry: StoreEntry, part: str) -> None:
    (tree / part).rename(layout.prefix / "elsewhere")
    (tree / part).symlink_to(layout.prefix / "elsewhere")
    missing = [drift.path for drift in entry_drift(layout, entry) if drift.kind is DriftKind.MISSING]
    assert missing == [str(tree / file.path) for file in entry.files if file.path.startswith(part)]


def test_a_pipe_in_place_of_an_empty_file_is_told_and_not_read(layout: Layout, tree: Path) -> None:
    (tree / "empty").touch()
    entry = record(layout, "engine", "llamacpp", tree)
    (tree / "empty").unlink()
    os.mkfifo(tree / "empty")
    for deep in (False, True):
        told = [(drift.kind, drift.path) for drift in entry_drift(layout, entry, deep=deep)]
        assert told == [(DriftKind.CONTENT, str(tree / "empty"))]
    assert verify(layout, State("l", entries={entry.key: entry}), lambda _size: lambda _count: None).problems
