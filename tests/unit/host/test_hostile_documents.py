"""Files that others have written or changed: small ones that would take minutes or gigabytes, or end the process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provision.apply import saved_plan
from provision.apply.bundle import read_lock
from provision.apply.state import read_marker, read_state, restore_state
from provision.engines.ollama_answers import BadAnswerError, read_running
from provision.engines.ollama_manifest import parse_manifest, without_context
from provision.errors import InvalidInputError, RefusedError
from provision.host.layout import Layout
from provision.host.reading import read_bounded, read_private
from provision.knowledge.load import MAX_OWN_BYTES, read_yaml
from provision.plan.lock_file import parse_lock
from provision.serve.observation import Server

DEEP = b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
MOST_S = 3.0


@contextmanager
def soon() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < MOST_S


def bomb(levels: int) -> str:
    first = "a0: &a0 [x, x, x, x, x, x, x, x, x]"
    return "\n".join([first, *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels))])


@pytest.mark.fault("yaml-bomb")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(bomb(9), id="references that multiply"),
        pytest.param("a: &a {x: 1}\nb: {<<: *a}", id="merging"),
        pytest.param("[" * 200_000, id="nested: the parser in C would end the process"),
        pytest.param("- " * 200_000 + "x", id="nested by indentation"),
        pytest.param("a: " + "9" * 5000, id="a number of 5000 digits"),
        pytest.param("a: !!python/object/apply:os.system [id]", id="a tag that runs something"),
        pytest.param("a: 1\na: 2", id="a key twice"),
        pytest.param("x" * (MAX_OWN_BYTES + 1), id="too large"),
        pytest.param("a: \0", id="NUL"),
    ],
)
def test_hostile_yaml_is_refused_at_once(tmp_path: Path, text: str) -> None:
    (tmp_path / "fabric.models.yaml").write_text(text, encoding="utf-8")
    with soon(), pytest.raises(InvalidInputError, match=r"fabric\.models\.yaml"):
        read_yaml(tmp_path / "fabric.models.yaml")


def test_many_keys_are_read_in_the_time_of_many_keys(tmp_path: Path) -> None:
    (tmp_path / "many.yaml").write_text("".join(f"k{n}: 1\n" for n in range(20_000)), encoding="utf-8")
    with soon():
        assert len(read_yaml(tmp_path / "many.yaml")) == 20_000


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(".".join("a" * 200_000) + " = 1", id="a key of many parts"),
        pytest.param("a = {" + ".".join("a" * 200_000) + " = 1}", id="within a table"),
        pytest.param("a = " + "[" * 100_000, id="nested"),
        pytest.param("lock_version = " + "9" * 5000, id="a number of 5000 digits"),
        pytest.param("".join(f"[{'.'.join(['a'] * n)}]\n" for n in range(1, 200)) + "x =", id="many tables"),
    ],
)
def test_a_hostile_lock_is_refused_at_once(text: str) -> None:
    with soon(), pytest.raises(InvalidInputError, match=r"fabric\.lock"):
        parse_lock(text.encode(), "fabric.lock")


def test_what_is_nested_without_end_is_damaged_wherever_it_is(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.run.mkdir()
    for path in (
        layout.state,
        layout.state.with_name("state.json.1"),
        layout.marker,
        layout.runtime,
        tmp_path / "plan",
    ):
        path.write_bytes(DEEP)
    with soon():
        readers: list[Callable[[], object]] = [
            lambda: read_state(layout),
            lambda: read_marker(layout),
            lambda: saved_plan.load(tmp_path / "plan"),
            lambda: parse_manifest(DEEP),
        ]
        for read in readers:
            with pytest.raises(InvalidInputError):
                read()
        assert restore_state(layout) is None
        assert Server(layout, None).runtime() is None
        assert without_context(DEEP, lambda _: b"") == (DEEP, {})
        with pytest.raises(BadAnswerError):
            read_running(DEEP)


def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    with soon(), pytest.raises(InvalidInputError, match="more than 1000 bytes"):
        read_bounded(Path("/dev/zero"), 1000)
    with soon(), pytest.raises(InvalidInputError):
        saved_plan.load(Path("/dev/zero"))


def test_a_bundle_whose_first_header_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    """A header of the kind "x" describes the next one, and is read into memory whole."""
    import tarfile

    member = tarfile.TarInfo("fabric.lock")
    member.type, member.size = tarfile.XHDTYPE, 1 << 33
    (tmp_path / "b.tar").write_bytes(member.tobuf() + bytes(2048))
    with soon(), pytest.raises(InvalidInputError, match="does not begin with"):
        read_lock(tmp_path / "b.tar")


def test_what_is_no_file_of_ours_is_not_read_as_one(tmp_path: Path) -> None:
    import os

    (tmp_path / "elsewhere").write_text("secret", encoding="utf-8")
    (tmp_path / "link").symlink_to("elsewhere")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with soon(), pytest.raises(RefusedError, match=name):
            read_private(tmp_path / name)
    assert read_private(tmp_path / "missing") is None
    assert read_private(tmp_path / "elsewhere") == b"secret"
