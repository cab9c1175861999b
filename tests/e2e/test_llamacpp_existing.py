"""A ``llama-server`` that is there already, on PATH or by its path: used where it lies, and never changed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.e2e.test_llamacpp_sources import PROVEN, UP, unfit
from tests.standin import llama_release
from tests.standin.command import Fabric
from tests.standin.llama_release import LIBRARY, script


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program of the user's, with a name and in a place with spaces."""
    path = tmp_path / "my programs" / "llama-server"
    path.parent.mkdir()
    install(path, script())
    return path


@pytest.fixture
def on_path(llamacpp: Fabric, program: Path) -> Fabric:
    llamacpp.variables["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    return llamacpp


def install(path: Path, content: bytes) -> None:
    """Put a program there as an update does: by another file of the same name."""
    fresh = path.with_name("fresh")
    fresh.write_bytes(content)
    fresh.chmod(0o755)
    fresh.replace(path)


def started_as(fabric: Fabric) -> str:
    server = json.loads((fabric.prefix / "current" / "server.json").read_text(encoding="utf-8"))
    return str(server["argv"][0])


def test_the_program_on_path_serves_from_its_own_place_and_stays(on_path: Fabric, program: Path) -> None:
    before = (program.read_bytes(), program.stat())
    up = on_path.succeed(*PROVEN)
    assert (up["engine_version"], up["smoke"]["ok"]) == ("existing", True)
    assert started_as(on_path) == str(program)
    kept = [path for path in (on_path.prefix / "engines").rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path.name for path in kept] == ["help.txt"], "what the launch needs; the rest differs from run to run"
    assert on_path.succeed(*PROVEN)["changed"] is False
    on_path.succeed("down")
    on_path.succeed("destroy", "--yes")
    assert not on_path.prefix.exists()
    assert (program.read_bytes(), program.stat().st_mtime_ns) == (before[0], before[1].st_mtime_ns)
    assert sorted(program.parent.iterdir()) == [program]


def test_an_upgraded_program_is_noticed_and_asked_anew(on_path: Fabric, program: Path) -> None:
    up = on_path.succeed(*UP)
    install(program, script(STANDIN_WITHOUT="--cors-origins"))
    (drift,) = on_path.succeed("status")["drift"]
    assert drift["resource"] == "engine/llamacpp"
    assert "llama-server" in drift["reason"]
    again = on_path.succeed(*UP)
    assert again["pid"] != up["pid"]
    server = json.loads((on_path.prefix / "current" / "server.json").read_text(encoding="utf-8"))
    assert "--cors-origins" not in server["argv"]
    assert on_path.succeed("status")["drift"] == []
    assert on_path.succeed(*UP)["changed"] is False


def test_an_upgrade_that_does_not_run_here_gives_way_to_the_next_source(on_path: Fabric, program: Path) -> None:
    on_path.succeed(*UP)
    install(program, b"#!/bin/sh\nexit 3\n")
    up = on_path.succeed(*UP)
    assert up["engine_version"] != "existing"
    assert [str(program) in told for told in unfit(on_path)] == [True]
    assert on_path.succeed(*UP)["pid"] == up["pid"]
    install(program, script())
    assert on_path.succeed(*UP)["pid"] == up["pid"]
    assert on_path.succeed(*UP, "--refresh")["engine_version"] == "existing"
    assert unfit(on_path) == []


def test_a_program_that_starts_only_in_the_users_own_environment_gives_way(on_path: Fabric, program: Path) -> None:
    """The server has an environment of its own; what needs more is found out before it is used."""
    compiler = llama_release.compiler()
    if compiler is None:
        pytest.skip("no C compiler, and this program has to be made")
    llama_release.compiled_tree(program.parent, compiler)  # where it lies already
    libraries = program.parent.parent / "libraries"
    libraries.mkdir()
    (program.parent / LIBRARY).rename(libraries / "libllama.so.0")
    on_path.variables["LD_LIBRARY_PATH"] = str(libraries)
    assert on_path.succeed(*UP)["engine_version"] != "existing"
    assert ["libllama.so.0" in told for told in unfit(on_path)] == [True]


def test_where_the_program_is_gone_the_next_source_is_taken(on_path: Fabric, program: Path) -> None:
    on_path.succeed(*UP)
    program.unlink()
    assert "is missing" in on_path.succeed("status")["drift"][0]["reason"]
    up = on_path.succeed(*UP)
    assert up["engine_version"] != "existing"
    assert on_path.succeed("status")["state"] == "ready"


def test_the_program_that_is_named_is_used_and_not_the_one_on_path(on_path: Fabric, tmp_path: Path) -> None:
    named = tmp_path / "home" / "my-server"
    install(named, script())
    on_path.succeed(*UP, "--program", "my-server")
    assert started_as(on_path) == str(named)


def test_another_program_is_tried_although_the_one_before_did_not_run(llamacpp: Fabric, tmp_path: Path) -> None:
    bad, good = tmp_path / "bad", tmp_path / "good"
    install(bad, b"#!/bin/sh\nexit 3\n")
    install(good, script())
    assert llamacpp.succeed(*UP, "--program", str(bad))["engine_version"] != "existing"
    llamacpp.succeed(*UP, "--program", str(good))
    assert started_as(llamacpp) == str(good)


@pytest.mark.parametrize(
    ("name", "why"),
    [("nothing", "does not exist"), ("directory", "is not a file"), ("text", "is not executable")],
)
def test_a_named_program_that_cannot_be_run_is_refused_at_once(
    llamacpp: Fabric, tmp_path: Path, name: str, why: str
) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "text").write_text("no program", encoding="utf-8")
    up = llamacpp(*UP, "--program", str(tmp_path / name))
    assert up.returncode == 64, up.said
    assert f"{tmp_path / name} {why}" in up.stderr


@pytest.mark.parametrize(
    ("options", "why"),
    [(("--backend", "auto"), "needs --backend"), (("--source", "archive"), "contradict each other")],
)
def test_a_named_program_that_would_not_be_used_is_refused(
    llamacpp: Fabric, program: Path, options: tuple[str, ...], why: str
) -> None:
    up = llamacpp(*UP, "--program", str(program), *options)
    assert up.returncode == 64, up.said
    assert why in up.stderr
