"""What lies in the prefix is not what was written: told, never guessed, and put right by the next ``up``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.oracle import WISH, Oracle
from tests.standin.command import Fabric


def engine_file(prefix: Path) -> Path:
    return next((prefix / "engines").rglob("xllamacpp.py"))


def model_file(prefix: Path) -> Path:
    return next(path for path in (prefix / "models").iterdir() if path.suffix == ".gguf")


STATES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda good: good[: len(good) // 2],
    "zeros": lambda good: bytes(len(good)),
    "a list": lambda _: b"[]",
    "another schema": lambda good: good.replace(b'"serial"', b'"cereal"').replace(b'"lineage"', b'"line"'),
    "not UTF-8": lambda good: good.replace(b"llamacpp", b"llama\xff\xfe"),
    "nested": lambda _: b"[" * 100_000,
    "a key of another type": lambda good: good.replace(b'"generation": 1', b'"generation": "one"'),
}


@pytest.mark.faults
@pytest.mark.fault("state-corrupt")
@pytest.mark.parametrize("spoil", STATES.values(), ids=STATES.keys())
def test_a_state_that_makes_no_sense_is_refused_and_the_one_before_it_named(
    quick: Fabric, oracle: Oracle, spoil: Callable[[bytes], bytes]
) -> None:
    up = quick.succeed("up", *WISH)
    state = quick.prefix / "state.json"
    good = state.read_bytes()
    state.write_bytes(spoil(good))
    assert state.read_bytes() != good
    for words in (("up", *WISH), ("status",), ("plan", *WISH[1:]), ("down",)):
        oracle.met(quick(*words), 65, [str(state), "state.json.1", "fabric destroy --yes"])
    state.write_bytes(good)
    assert oracle.converges(quick)["pid"] == up["pid"], "the server has noticed nothing"
    state.write_bytes(spoil(good))
    shutil.copy(quick.prefix / "state.json.1", state)
    oracle.converges(quick)
    state.write_bytes(spoil(good))
    oracle.nothing_left(quick)


@pytest.mark.fault("state-newer")
def test_a_state_of_a_newer_fabric_is_left_alone(quick: Fabric, oracle: Oracle) -> None:
    quick.succeed("up", *WISH)
    state = quick.prefix / "state.json"
    good = state.read_text(encoding="utf-8")
    newer = json.dumps({**json.loads(good), "version": 99})
    state.write_text(newer, encoding="utf-8")
    oracle.met(quick("up", *WISH), 65, ["newer fabric"])
    assert state.read_text(encoding="utf-8") == newer
    state.write_text(good, encoding="utf-8")
    oracle.converges(quick)
    oracle.nothing_left(quick)


@pytest.mark.faults
@pytest.mark.fault("lock-corrupt")
@pytest.mark.parametrize("keep", [0, 40, 400, -3])
def test_a_lock_that_was_cut_is_refused(quick: Fabric, oracle: Oracle, keep: int) -> None:
    quick.succeed("lock", *WISH[1:])
    lock = quick.home / "fabric.lock"
    good = lock.read_bytes()
    lock.write_bytes(good[:keep])
    oracle.met(quick("up", *WISH, "--locked"), 65, ["fabric.lock", "fabric lock"])
    assert not (quick.prefix / "engines").exists()
    lock.write_bytes(good)
    oracle.converges(quick, (*WISH, "--locked"))
    lock.unlink()
    oracle.nothing_left(quick)


def put_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "changed": lambda path: path.write_bytes(b"# another\n" + path.read_bytes()),
    "deleted": lambda path: path.unlink(),
    "mode changed": lambda path: path.chmod(0o400 if path.stat().st_mode & 0o200 else 0o666),
    "a directory instead": put_directory,
    "a link out instead": put_link,
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.faults
@pytest.mark.fault("store-damaged")
@pytest.mark.parametrize("which", [engine_file, model_file], ids=["engine", "model"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_of_the_store_is_told_and_made_anew(
    quick: Fabric, oracle: Oracle, which: Callable[[Path], Path], damage: Callable[[Path], object]
) -> None:
    quick.succeed("up", *WISH)
    path = which(quick.prefix)
    damage(path)
    if path.is_symlink() and which is model_file:  # an entry of the store that leads elsewhere
        oracle.met(quick("up", *WISH), 77, [str(path)])
        path.unlink()
    told = json.dumps(quick.succeed("status")["drift"], ensure_ascii=False)
    assert path.name in told
    pending = {change["resource"]: change["action"] for change in quick.succeed("plan", *WISH[1:])["changes"]}
    assert {resource.partition("/")[0] for resource, action in pending.items() if action != "none"} <= {
        "engine" if which is engine_file else "model",
        "server",
    }
    oracle.survived(quick, quick("up", *WISH), 0)
    assert quick.succeed("status")["drift"] == []
    oracle.nothing_left(quick)


@pytest.mark.fault("store-damaged")
def test_a_file_that_somebody_added_is_shown_and_kept(quick: Fabric, oracle: Oracle) -> None:
    up = quick.succeed("up", *WISH)
    mine = engine_file(quick.prefix).with_name("mine.py")
    mine.write_text("mine", encoding="utf-8")
    assert mine.name in json.dumps(quick.succeed("status")["drift"])
    oracle.met(quick("up", *WISH), 0)
    assert quick.server_pid() == up["pid"]
    assert mine.read_text(encoding="utf-8") == "mine"
    mine.unlink()
    oracle.converges(quick)
    oracle.nothing_left(quick)


@pytest.mark.faults
@pytest.mark.fault("prefix-linked")
def test_a_prefix_that_is_a_link_is_used_where_it_leads(quick: Fabric, oracle: Oracle, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    quick.prefix.parent.mkdir()
    quick.prefix.symlink_to(target)
    outcome = oracle.met(quick("up", *WISH))
    if outcome.returncode:
        assert list(target.iterdir()) == []
    else:
        oracle.converges(replace(quick, prefix=target))
        quick.succeed("destroy", "--yes")
        assert not target.exists() or list(target.iterdir()) == []
    quick.prefix.unlink(missing_ok=True)


@pytest.mark.faults
@pytest.mark.fault("prefix-linked")
@pytest.mark.parametrize("files", [(), ("mine",)], ids=["empty", "with a file"])
def test_a_directory_in_the_place_of_current(quick: Fabric, oracle: Oracle, files: tuple[str, ...]) -> None:
    up = quick.succeed("up", *WISH)
    current = quick.prefix / "current"
    current.unlink()
    current.mkdir()
    for name in files:
        (current / name).write_text("mine", encoding="utf-8")
    outcome = oracle.met(quick("up", *WISH, "--context", "600"))
    if outcome.returncode:
        status = quick.succeed("status")
        assert status["state"] == "ready", outcome.said
        assert status["pid"] == up["pid"], outcome.said
        assert str(current) in outcome.said
        shutil.rmtree(current)
        current.symlink_to("gen/1")
    oracle.converges(quick)
    oracle.nothing_left(quick)


@pytest.mark.faults
@pytest.mark.fault("prefix-linked")
def test_an_engine_that_was_moved_out_and_linked_is_not_followed(quick: Fabric, oracle: Oracle, tmp_path: Path) -> None:
    quick.succeed("up", *WISH)
    engine = engine_file(quick.prefix).parents[3]
    assert engine.parent == quick.prefix / "engines"
    outside = quick.home / "outside"
    engine.rename(outside)
    engine.symlink_to(outside)
    before = sorted(path.name for path in outside.rglob("*"))
    oracle.met(quick("up", *WISH), 77, [str(engine)])
    engine.unlink()
    oracle.survived(quick, quick("up", *WISH), 0)
    quick.succeed("destroy", "--yes")
    assert sorted(path.name for path in outside.rglob("*")) == before, "what lies elsewhere stays"
    shutil.rmtree(outside)
    oracle.nothing_left(quick)
