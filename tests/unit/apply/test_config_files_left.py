"""What is in the way of one file is in the way of no other, and nothing is forgotten before it is back."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.apply.config_copies import Rendered
from provision.apply.config_files import TakenBack, take_each_back, write
from provision.apply.destroy import remove_prefix
from provision.apply.state import open_prefix, read_state
from provision.domain.state import State
from provision.errors import FabricError
from provision.host.layout import Layout

OURS = Rendered("opencode", "json", '{\n  "env": {"B": "ours"}\n}\n')
MINE = '{\n  // mine\n  "env": {"A": "mine"}\n}\n'
NAMES = ("first.json", "second.json", "third.json")


@pytest.fixture
def written(layout: Layout, tmp_path: Path) -> list[Path]:
    """Three files of the user's with our values in them, each in a directory of its own."""
    paths = [tmp_path / name.partition(".")[0] / name for name in NAMES]
    for path in paths:
        path.parent.mkdir()
        path.write_text(MINE, encoding="utf-8")
        write(layout, state_of(layout), path, OURS)
    return paths


def state_of(layout: Layout) -> State:
    return read_state(layout) or open_prefix(layout)


def undo(layout: Layout) -> list[TakenBack]:
    state = state_of(layout)
    return take_each_back(layout, state, state.config_files)[0]


def test_what_is_left_stays_remembered_until_it_can_be_taken_back(layout: Layout, written: list[Path]) -> None:
    now = written[1].read_text(encoding="utf-8")
    written[1].write_text(now[:-2], encoding="utf-8")
    for _ in range(2):
        (left,) = [each for each in undo(layout) if each.outcome == "left"]
        assert Path(left.aside or "").parent == layout.config_files
        assert Path(left.aside or "").read_text(encoding="utf-8") == MINE
        assert [path.name for path in written[1].parent.iterdir()] == [NAMES[1]]
    written[1].write_text(now, encoding="utf-8")
    assert [each.outcome for each in undo(layout)] == ["restored"]
    assert written[1].read_text(encoding="utf-8") == MINE
    assert not layout.config_files.exists()


def by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def by_file_above(path: Path) -> None:
    path.unlink()
    path.parent.rmdir()
    path.parent.touch()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("replaced", [by_pipe, by_directory, by_file_above])
def test_undo_goes_on_with_the_others(layout: Layout, written: list[Path], replaced: Callable[[Path], None]) -> None:
    replaced(written[0])
    assert [each.outcome for each in undo(layout)] == ["left", "restored", "restored"]
    assert [path.read_text(encoding="utf-8") for path in written[1:]] == [MINE, MINE]
    assert [each.path for each in state_of(layout).config_files] == [str(written[0])]


def test_destroy_takes_the_others_back_before_it_says_what_is_in_the_way(layout: Layout, written: list[Path]) -> None:
    by_file_above(written[0])
    with pytest.raises(FabricError, match="first"):
        remove_prefix(layout, state_of(layout), keep_models=False)
    assert [path.read_text(encoding="utf-8") for path in written[1:]] == [MINE, MINE]
    assert [each.path for each in state_of(layout).config_files] == [str(written[0])]
    written[0].parent.unlink()
    (done,) = remove_prefix(layout, state_of(layout), keep_models=False).taken_back
    assert Path(done.aside or "").read_text(encoding="utf-8") == MINE


def test_destroy_goes_by_the_state_before_one_that_cannot_be_read(layout: Layout, written: list[Path]) -> None:
    layout.state.write_text("{", encoding="utf-8")
    removal = remove_prefix(layout, None, keep_models=False)
    assert [each.outcome for each in removal.taken_back] == ["restored", "restored"]
    assert [path.read_text(encoding="utf-8") for path in written[:2]] == [MINE, MINE]
    assert removal.unknown == (NAMES[2],)
    (kept,) = Path(removal.kept or "").iterdir()
    assert kept.read_text(encoding="utf-8") == MINE
    assert not layout.prefix.exists()


def test_without_any_state_nothing_of_ours_is_kept_and_the_names_are_told(layout: Layout, tmp_path: Path) -> None:
    write(layout, state_of(layout), tmp_path / "new.json", OURS)
    layout.state.write_text("{", encoding="utf-8")
    removal = remove_prefix(layout, None, keep_models=False)
    assert (removal.unknown, removal.kept) == (("new.json",), None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.json"]
