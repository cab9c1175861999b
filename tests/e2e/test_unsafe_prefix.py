"""A place that others could write to or replace, or that is not fabric's: refused before anything is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.standin.command import Fabric

STRANGER = 54321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to somebody else")


def picture(root: Path) -> dict[str, tuple[int, int]]:
    """Return everything below a directory, with times to the nanosecond: a write would show."""
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_mode) for path in [root, *root.rglob("*")]}


def open_to_all(prefix: Path) -> None:
    (prefix / "mine.txt").touch()
    prefix.chmod(0o707)


def open_to_a_group(prefix: Path) -> None:
    (prefix / "mine.txt").touch()
    prefix.chmod(0o770)


def below_an_open_directory(prefix: Path) -> None:
    prefix.parent.chmod(0o777)


def of_somebody_else(prefix: Path) -> None:
    os.chown(prefix, STRANGER, STRANGER)


def below_somebody_elses(prefix: Path) -> None:
    os.chown(prefix.parent, STRANGER, STRANGER)


def full_of_somebody_elses_files(prefix: Path) -> None:
    (prefix / "lockpick.txt").write_text("mine", encoding="utf-8")


def with_a_link_for_a_marker(prefix: Path) -> None:
    (prefix / "fabric-prefix").symlink_to("/etc/hostname")


def with_a_link_for_a_lock(prefix: Path) -> None:
    (prefix.parent / "precious").write_text("kept", encoding="utf-8")
    (prefix / "lock").symlink_to(prefix.parent / "precious")


OPEN, OF_OTHERS = pytest.mark.fault("prefix-open"), pytest.mark.fault("prefix-of-others")
LINKED = pytest.mark.fault("prefix-linked")


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(open_to_all, marks=OPEN),
        pytest.param(open_to_a_group, marks=OPEN),
        pytest.param(below_an_open_directory, marks=OPEN),
        pytest.param(of_somebody_else, marks=(needs_root, OF_OTHERS)),
        pytest.param(below_somebody_elses, marks=(needs_root, OF_OTHERS)),
        pytest.param(full_of_somebody_elses_files, marks=OF_OTHERS),
        pytest.param(with_a_link_for_a_marker, marks=LINKED),
        pytest.param(with_a_link_for_a_lock, marks=LINKED),
    ],
    ids=lambda spoil: spoil.__name__,
)
@pytest.mark.parametrize("verb", ["up", "destroy"])
def test_an_unsafe_prefix_is_refused_before_any_write(
    tmp_path: Path, home: Path, spoil: Callable[[Path], None], verb: str
) -> None:
    prefix = tmp_path / "way" / "prefix"
    prefix.mkdir(parents=True, mode=0o700)
    spoil(prefix)
    before = picture(prefix.parent)
    outcome = Fabric(prefix, home, "http://127.0.0.1:9/")(verb, *(["--yes"] if verb == "destroy" else []), "--json")
    assert outcome.returncode == 77, outcome.said
    assert outcome.json["error"]["code"] == "refused"
    assert outcome.json["error"]["hint"]
    assert picture(prefix.parent) == before


@pytest.mark.fault("prefix-linked")
def test_a_home_behind_a_link_works_and_is_removed(quick: Fabric, tmp_path: Path) -> None:
    """/home is often a link to another disk; where it leads is looked up once, and everything is made there."""
    (tmp_path / "disk" / "home").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    behind = replace(quick, prefix=tmp_path / "link" / "home" / "fabric")
    up = behind.succeed("up", "--no-smoke")
    assert behind.succeed("status")["prefix"] == str(tmp_path / "disk" / "home" / "fabric")
    assert behind.succeed("up", "--no-smoke")["pid"] == up["pid"], "by whatever way it is named"
    direct = replace(quick, prefix=tmp_path / "disk" / "home" / "fabric")
    assert direct.succeed("up", "--no-smoke")["pid"] == up["pid"]
    behind.succeed("destroy", "--yes")
    assert list((tmp_path / "disk" / "home").iterdir()) == []
    assert (tmp_path / "link").is_symlink(), "what was there before stays"


@pytest.mark.fault("prefix-linked")
@pytest.mark.parametrize("name", ["models", "logs", "run", "state.json", "current", "engines/*", "models/*", "gen/1"])
def test_a_part_that_was_led_elsewhere_is_refused_and_what_lies_there_is_kept(
    quick: Fabric, tmp_path: Path, name: str
) -> None:
    quick.succeed("up", "--no-smoke")
    quick.succeed("down")
    elsewhere, part = tmp_path / "elsewhere", next(quick.prefix.glob(name))
    if name == "current":
        part.unlink()
        part.mkdir()
        (part / "server.json").write_text("{}", encoding="utf-8")
    else:
        part.rename(elsewhere)
        part.symlink_to(elsewhere)
    for verb in (("up", "--no-smoke"), ("destroy", "--yes")):
        outcome = quick(*verb, "--json")
        assert outcome.returncode == 77, outcome.said
        assert str(part) in outcome.json["error"]["message"]
    assert name == "current" or elsewhere.exists()
    if name == "current":
        (part / "server.json").unlink()
        part.rmdir()
    else:
        part.unlink()
        elsewhere.rename(part)


def test_a_prefix_that_lost_its_marker_is_refused_and_kept(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    marker = quick.prefix / "fabric-prefix"
    told = marker.read_bytes()
    marker.unlink()
    for verb in (("up", "--no-smoke"), ("destroy", "--yes")):
        outcome = quick(*verb, "--json")
        assert outcome.returncode == 77, outcome.said
    assert (quick.prefix / "state.json").exists()
    marker.write_bytes(told)


@pytest.mark.fault("umask")
@pytest.mark.parametrize("mask", [0o000, 0o077, 0o777], ids=oct)
def test_modes_do_not_depend_on_the_umask(quick: Fabric, mask: int) -> None:
    quick.succeed("up", "--no-smoke", preexec_fn=lambda: os.umask(mask))
    private = ("", "run", "logs", "gen", "home", "secrets", "engines", "models")
    modes = {name: (quick.prefix / name).stat().st_mode & 0o777 for name in private if (quick.prefix / name).exists()}
    assert set(modes.values()) == {0o700}, modes
    assert quick.prefix.parent.stat().st_mode & 0o022 == 0, "a parent that was made for it"
    files = ("state.json", "fabric-prefix", "lock", "run/server.json", "logs/server.log", "logs/supervisor.log")
    assert {(quick.prefix / name).stat().st_mode & 0o777 for name in files} == {0o600}


def test_a_link_that_a_killed_run_was_about_to_rename_is_cleared_and_not_refused(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    left = quick.prefix / ".current.tmp-1"
    left.symlink_to("gen/1")
    assert quick.succeed("up", "--no-smoke")["changed"] is False
    assert not left.is_symlink()
