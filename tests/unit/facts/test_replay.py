from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from provision.errors import InvalidInputError
from provision.host.machine import MAX_READ_BYTES, NOT_FOUND, Access, Command, CommandResult, Platform, Space
from provision.host.replay import ReplayMachine, UnknownCommand


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    (tmp_path / "outside.txt").write_text("secret")
    directory = tmp_path / "capture"
    (directory / "root" / "etc").mkdir(parents=True)
    (directory / "root" / "empty").mkdir()
    (directory / "root" / "empty" / ".gitkeep").write_text("")
    (directory / "root" / "etc" / "name").write_bytes(b"caf\xc3\xa9 \xff")
    (directory / "platform.json").write_text('{"system": "Linux", "machine": "aarch64", "free_bytes": 5, "note": "x"}')
    (directory / "env.json").write_text('{"PATH": "/bin"}')
    (directory / "commands.json").write_text('[{"argv": ["a", "b"], "returncode": 3, "stdout": "o", "stderr": "e"}]')
    return directory


def test_answers_come_from_the_capture(capture: Path) -> None:
    machine = ReplayMachine(capture)
    assert machine.platform == Platform("Linux", "aarch64", None, None)
    assert machine.env == {"PATH": "/bin"}
    assert machine.space("/anywhere") == Space(5)
    assert machine.read_text("/etc/name") == "café \N{REPLACEMENT CHARACTER}"
    assert machine.list_dir("/") == ("empty", "etc")
    assert machine.run(Command(("a", "b"))) == CommandResult(3, "o", "e")


def test_what_is_absent_is_absent(capture: Path) -> None:
    machine = ReplayMachine(capture)
    assert machine.read_text("/etc/none") is None
    assert machine.read_text("/etc") is None
    assert machine.list_dir("/none") == machine.list_dir("/etc/name") == machine.list_dir("/empty") == ()
    assert [machine.exists(path) for path in ("/etc", "/etc/name", "/empty", "/none")] == [True, True, True, False]
    assert machine.run(Command(("a",))) == NOT_FOUND


def test_a_long_file_is_cut_as_on_a_real_machine(capture: Path) -> None:
    (capture / "root" / "long").write_bytes(b"x" * (MAX_READ_BYTES + 1))
    assert len(ReplayMachine(capture).read_text("/long") or "") == MAX_READ_BYTES


def test_only_a_strict_replay_refuses_a_command_that_it_does_not_know(capture: Path) -> None:
    machine = ReplayMachine(capture, strict=True)
    assert machine.run(Command(("a", "b"))).returncode == 3
    with pytest.raises(UnknownCommand, match=r"'lspci'.*'a', 'b'"):
        machine.run(Command(("lspci",)))


@pytest.mark.parametrize(
    "path", ["/../../outside.txt", "../outside.txt", "/etc/../../../outside.txt", "/up", "/up/outside.txt", "/absolute"]
)
def test_nothing_outside_is_read(capture: Path, path: str) -> None:
    (capture / "root" / "up").symlink_to("../..")
    (capture / "root" / "absolute").symlink_to(capture.parent / "outside.txt")
    machine = ReplayMachine(capture)
    assert (machine.read_text(path), machine.list_dir(path), machine.exists(path)) == (None, (), False)


def test_a_sibling_whose_name_starts_alike_is_outside(capture: Path) -> None:
    (capture / "rootless").mkdir()
    (capture / "rootless" / "file").write_text("x")
    assert ReplayMachine(capture).read_text("/../rootless/file") is None


def test_links_within_the_capture_are_followed(capture: Path) -> None:
    (capture / "root" / "lib").symlink_to("etc")
    (capture / "root" / "loop").symlink_to("loop")
    machine = ReplayMachine(capture)
    assert machine.read_text("/lib/name") == machine.read_text("/etc/name")
    assert machine.read_text("/loop") is None
    assert machine.exists("/nul\0byte") is False


def test_environment_and_commands_may_be_absent(capture: Path) -> None:
    (capture / "env.json").unlink()
    (capture / "commands.json").unlink()
    machine = ReplayMachine(capture)
    assert machine.env == {}
    assert machine.run(Command(("a", "b"))) == NOT_FOUND


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("platform.json", "{", "truncated"),
        ("platform.json", "[]", "object"),
        ("platform.json", '{"system": "Linux"}', "machine"),
        ("platform.json", '{"system": "Linux", "machine": "x", "sytem": "typo"}', "sytem"),
        ("platform.json", '{"system": "Linux", "machine": "x", "version": "2"}', "version"),
        ("platform.json", '{"system": "Linux", "machine": "x", "version": 0}', "version"),
        ("platform.json", '{"system": "Linux", "machine": "x", "links": ["/a"]}', "links"),
        ("platform.json", "<!DOCTYPE html><html><body>404</body></html>", "malformed"),
        ("platform.json", '{"system": "Linux", "x": ' + "[" * 100_000, "recursion"),
        ("platform.json", "", "truncated"),
        ("env.json", '{"PATH": 1}', "str"),
        ("commands.json", '[{"argv": "ls -l"}]', "argv"),
        ("commands.json", '[{"argv": ["ls"], "returncode": "0"}]', "returncode"),
        ("commands.json", "\xff", "commands.json"),
        ("commands.json", '{"nvidia-smi": "text"}', "array"),
        ("commands.json", "[1, 2]", "object"),
        ("env.json", "[" * 100_000, "object"),
        ("servers.json", '[{"port": 0}]', "port"),
        ("servers.json", '[{"port": 80, "answers": {"/": {"stat": 200}}}]', "stat"),
    ],
)
def test_a_broken_capture_names_the_file_and_the_place(capture: Path, name: str, text: str, reason: str) -> None:
    (capture / name).write_text(text, encoding="latin-1")
    with pytest.raises(InvalidInputError) as caught:
        ReplayMachine(capture)
    assert str(capture / name) in caught.value.message
    assert reason in caught.value.message


def test_a_directory_that_is_no_capture(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"platform\.json is missing"):
        ReplayMachine(tmp_path)


def test_a_capture_of_a_newer_fabric_says_so_whatever_it_holds(capture: Path) -> None:
    (capture / "platform.json").write_text('{"version": 2, "sys": {"name": "Linux"}, "root": null}')
    with pytest.raises(InvalidInputError, match="newer fabric, in format 2") as caught:
        ReplayMachine(capture)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["platform.json", "commands.json", "env.json"])
def test_a_directory_or_a_pipe_in_the_place_of_a_file(capture: Path, name: str) -> None:
    (capture / name).unlink()
    os.mkfifo(capture / name)
    with pytest.raises(InvalidInputError, match=name):
        ReplayMachine(capture)
    (capture / name).unlink()
    (capture / name).mkdir()
    with pytest.raises(InvalidInputError, match=name):
        ReplayMachine(capture)


def test_a_pipe_among_the_files_keeps_nobody_waiting(capture: Path) -> None:
    os.mkfifo(capture / "root" / "etc" / "pipe")
    machine = ReplayMachine(capture)
    assert machine.read_text("/etc/pipe") is None
    assert machine.link_target("/etc/pipe") is None


def test_what_files_cannot_say_stands_in_the_platform(capture: Path) -> None:
    (capture / "platform.json").write_text(
        json.dumps(
            {
                "system": "Linux",
                "machine": "x",
                "prefix": "/data/fabric",
                "access": {"/dev/kfd": {"allowed": False, "group": "render"}, "/etc/name": None},
                "links": {"/sys/card0/device": "../0000:03:00.0", "/etc/name": None},
                "missing": ["/empty"],
                "listings": {"/etc": [], "/proc": ["1", "2"]},
            }
        )
    )
    machine = ReplayMachine(capture)
    assert machine.prefix == "/data/fabric"
    assert machine.access("/dev/kfd") == Access(allowed=False, group="render")
    assert machine.access("/etc/name") is None
    assert machine.link_target("/sys/card0/device") == "../0000:03:00.0"
    assert machine.link_target("/etc/name") is None
    assert (machine.exists("/empty"), machine.exists("/etc/name")) == (False, True)
    assert (machine.list_dir("/etc"), machine.list_dir("/proc")) == ((), ("1", "2"))
    assert machine.read_text("/etc/name") is not None
