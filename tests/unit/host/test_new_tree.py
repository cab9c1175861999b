"""No link is followed, even where the caller has not looked at the names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.host.new_tree import NewTree, new_tree


def test_a_link_in_the_way_is_never_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    with new_tree(tmp_path / "tree") as tree:
        tree.make_link(["dir"], "../outside")
        tree.make_link(["file"], "../outside/precious")
        attempts: list[Callable[[], None]] = [
            lambda: tree.write_file(["dir", "evil"], [b"x"], executable=False),
            lambda: tree.write_file(["file"], [b"x"], executable=False),
            lambda: tree.make_directory(["dir", "evil"]),
            lambda: tree.make_link(["dir", "evil"], "x"),
            lambda: tree.make_hard_link(["stolen"], ["dir", "precious"]),
            lambda: tree.make_hard_link(["dir", "evil"], ["file"]),
        ]
        for attempt in attempts:
            with pytest.raises(OSError, match="Errno"):
                attempt()
        tree.make_hard_link(["same"], ["file"])
    assert [each.name for each in outside.iterdir()] == ["precious"]
    assert (outside / "precious").read_bytes() == b"precious"
    assert (outside / "precious").stat().st_nlink == 1
    assert (tmp_path / "tree" / "same").is_symlink(), "a link's other name is a link"


def test_what_is_there_is_not_written_to(tmp_path: Path) -> None:
    with new_tree(tmp_path / "tree") as tree:
        tree.write_file(["a", "b"], [b"one", b"two"], executable=False)
        with pytest.raises(FileExistsError):
            tree.write_file(["a", "b"], [b"three"], executable=False)
        with pytest.raises(NotADirectoryError):
            tree.write_file(["a", "b", "c"], [b"three"], executable=False)
    assert (tmp_path / "tree/a/b").read_bytes() == b"onetwo"


def test_a_tree_that_is_not_finished_is_removed(tmp_path: Path) -> None:
    def fill(tree: NewTree) -> None:
        tree.write_file(["a", "b"], [b"one"], executable=True)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), new_tree(tmp_path / "tree") as tree:
        fill(tree)
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - all of it


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    with pytest.raises(FileExistsError), new_tree(tmp_path / "tree"):
        pass
    assert (tmp_path / "tree").is_dir()
