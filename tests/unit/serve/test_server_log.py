"""The server's log on disk: its end, this run's part of it, and lines without an end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from provision.serve.logkeeper import TAIL_BYTES, LogKeeper
from provision.serve.server_log import KEPT_FILES, ROTATE_BYTES, ServerLog


def add(path: Path, *lines: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))


def test_nothing_of_an_earlier_run_is_shown(tmp_path: Path) -> None:
    log = ServerLog(tmp_path / "server.log")
    assert log.end() is None
    add(log.path, "before 1", "before 2")
    began = log.end()
    assert log.last_lines(5, began) == []
    add(log.path, "now 1", "now 2")
    assert log.last_lines(5, began) == ["now 1", "now 2"]
    assert log.last_lines(1, began) == ["now 2"]
    assert log.last_lines(3) == ["before 2", "now 1", "now 2"]


def test_all_that_was_said_in_one_run_is_kept_up_to_the_size_of_one_file(tmp_path: Path) -> None:
    log = ServerLog(tmp_path / "server.log")
    assert log.said_since(None) == b""
    add(log.path, "before")
    began = log.end()
    add(log.path, "now 1" + "x" * TAIL_BYTES)
    log.path.rename(tmp_path / "server.log.1")
    add(log.path, "now 2")
    said = log.said_since(began).decode().splitlines()
    assert [line[:5] for line in said] == ["now 1", "now 2"]
    assert len(said[0]) == 5 + TAIL_BYTES
    add(log.path, "y" * ROTATE_BYTES)
    assert len(log.said_since(began)) == ROTATE_BYTES


def test_a_log_that_is_rotated_goes_on_in_the_next_file(tmp_path: Path) -> None:
    log = ServerLog(tmp_path / "server.log")
    add(log.path, "before")
    began = log.end()
    add(log.path, "now 1")
    log.path.rename(tmp_path / "server.log.1")
    add(log.path, "now 2")
    assert log.last_lines(5, began) == ["now 1", "now 2"]
    assert log.last_lines(5) == ["before", "now 1", "now 2"]
    (tmp_path / "server.log.1").unlink()
    assert log.last_lines(5, began) == ["now 2"]


def keep(log: Path, output: bytes) -> str:
    """Have a keeper copy ``output``; return the end of it."""
    source = log.with_name("output")
    source.write_bytes(output)
    keeper = LogKeeper(log)
    keeper.follow(source.open("rb"))
    return keeper.finish(10.0)


def test_output_without_an_end_of_line_is_kept_and_remembered_within_bounds(tmp_path: Path) -> None:
    output = b"x" * (TAIL_BYTES * 2) + b"\nthe end\n"
    tail = keep(tmp_path / "server.log", output)
    assert tail.endswith("x\nthe end\n")
    assert len(tail) == TAIL_BYTES
    assert (tmp_path / "server.log").read_bytes() == output
    assert stat.S_IMODE((tmp_path / "server.log").stat().st_mode) == 0o600


@pytest.mark.fault("log-flood")
def test_a_full_file_ends_with_a_line_and_the_oldest_goes(tmp_path: Path) -> None:
    lines = [b"%07d %s\n" % (number, b"x" * 991) for number in range((KEPT_FILES + 2) * ROTATE_BYTES // 1000)]
    keep(tmp_path / "server.log", b"".join(lines))
    files = [tmp_path / f"server.log.{number}" for number in range(KEPT_FILES, 0, -1)]
    kept = [path.read_bytes() for path in (*files, tmp_path / "server.log")]
    assert all(data.endswith(b"\n") and len(data) <= ROTATE_BYTES for data in kept)
    together = b"".join(kept)
    assert together == b"".join(lines)[-len(together) :]
    assert not (tmp_path / f"server.log.{KEPT_FILES + 1}").exists()


@pytest.mark.fault("log-disk-full")
def test_what_the_disk_has_no_room_for_is_dropped_and_how_much_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, write = [8, None, None, 4096], os.write

    def full_now_and_then(file: int, data: bytes) -> int:
        size = room.pop(0)
        if size is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[:size])

    monkeypatch.setattr("provision.serve.logkeeper.READ_BYTES", 16)
    monkeypatch.setattr("provision.serve.logkeeper.os.write", full_now_and_then)
    assert keep(tmp_path / "server.log", b"0123456789abcde\n" * 4).count("0123456789") == 4
    assert (tmp_path / "server.log").read_bytes() == b"01234567fabric: 40 bytes were dropped here\n0123456789abcde\n"
