"""The server's log on disk: its end, this run's part of it, and lines without an end."""

from __future__ import annotations

import io
from pathlib import Path

from provision.serve.logkeeper import MAX_LINE_BYTES, TAIL_LINES, LogKeeper
from provision.serve.server_log import ROTATE_BYTES, TAIL_BYTES, ServerLog


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


def test_output_without_an_end_of_line_is_kept_in_pieces(tmp_path: Path) -> None:
    keeper = LogKeeper(tmp_path / "server.log")
    keeper.follow(io.BytesIO(b"x" * (MAX_LINE_BYTES * (TAIL_LINES + 10)) + b"\nthe end\n"))
    tail = keeper.finish(10.0)
    assert tail.endswith("the end\n")
    assert len(tail) <= MAX_LINE_BYTES * TAIL_LINES
    lines = (tmp_path / "server.log").read_text(encoding="utf-8").splitlines()
    assert max(map(len, lines)) == MAX_LINE_BYTES
