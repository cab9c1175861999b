from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.host.line_log import LAST_LINES, MAX_LINE_BYTES, line_log


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@given(pieces=st.lists(st.binary(max_size=30).map(lambda data: data.replace(b"x", b"\n")), max_size=20))
def test_all_is_in_the_file_and_every_line_is_told_whatever_pieces_it_comes_in(
    place: Path, pieces: list[bytes]
) -> None:
    path, heard = place / "log", list[str]()
    path.unlink(missing_ok=True)
    with line_log(path, heard.append) as log:
        for piece in pieces:
            log.write(piece)
    whole = b"".join(pieces)
    lines = whole.split(b"\n")
    expected = lines if lines[-1] else lines[:-1]
    assert path.read_bytes() == whole
    assert heard == [line.rstrip(b"\r").decode("utf-8", "replace") for line in expected]


def test_a_log_is_added_to_and_only_for_this_user(tmp_path: Path) -> None:
    for text in (b"first\n", b"second\n"):
        with line_log(tmp_path / "log") as log:
            log.write(text)
    assert (tmp_path / "log").read_bytes() == b"first\nsecond\n"
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


def test_only_the_newest_lines_are_kept_in_memory(tmp_path: Path) -> None:
    with line_log(tmp_path / "log") as log:
        log.write(b"".join(b"%d\n" % number for number in range(LAST_LINES + 50)))
    assert list(log.last) == [str(number) for number in range(50, LAST_LINES + 50)]


def test_a_line_without_end_comes_in_pieces(tmp_path: Path) -> None:
    heard: list[str] = []
    with line_log(tmp_path / "log", heard.append) as log:
        for _ in range(4):
            log.write(b"y" * (MAX_LINE_BYTES // 2))
    assert [len(line) for line in heard] == [MAX_LINE_BYTES, MAX_LINE_BYTES]


def test_a_log_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"), line_log(tmp_path / "log"):
        pass
    assert not (tmp_path / "elsewhere").exists()
