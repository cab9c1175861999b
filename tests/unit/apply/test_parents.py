"""Directories that were made above a prefix are known at every moment, whoever is killed when."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provision.apply.destroy import remove_prefix
from provision.apply.parents import make_prefix, noted_parents, remove_noted
from provision.apply.state import open_prefix, read_marker
from provision.host.layout import Layout
from tests.e2e.traces import below


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A prefix three directories below one that is there."""
    return Layout(tmp_path / "there" / "made" / "for it" / "prefix")


@pytest.fixture(autouse=True)
def there(layout: Layout) -> Path:
    """The directory that was there before, with a file of the user's."""
    place = layout.prefix.parents[2]
    place.mkdir()
    (place / "mine").touch()
    return place


@pytest.mark.parametrize("made", range(3))
def test_what_a_killed_run_has_made_is_known_to_the_next(layout: Layout, there: Path, made: int) -> None:
    make_prefix(layout)
    layout.prefix.rmdir()
    for parent in layout.prefix.parents[: 2 - made]:
        parent.rmdir()
    make_prefix(layout)
    open_prefix(layout)
    marker = read_marker(layout)
    assert marker is not None
    assert marker.made_parents == (str(there / "made" / "for it"), str(there / "made"))
    assert below(there) == {str(layout.marker), str(layout.prefix), str(there / "mine"), *marker.made_parents}


@pytest.mark.parametrize("removed", range(4))
def test_what_a_killed_removal_has_left_goes_with_the_next(
    layout: Layout, there: Path, removed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_prefix(layout)
    open_prefix(layout)
    layout.lock.touch()
    left = iter(range(removed))
    real = Path.rmdir

    def rmdir_until_killed(path: Path) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        real(path)

    monkeypatch.setattr(Path, "rmdir", rmdir_until_killed)
    if removed < 3:
        with pytest.raises(KeyboardInterrupt):
            remove_prefix(layout, None, keep_models=False)
    else:
        remove_prefix(layout, None, keep_models=False)
    monkeypatch.undo()
    remove_noted(layout)
    assert below(there) == {str(there / "mine")}


def test_an_empty_directory_of_the_users_stays(layout: Layout, there: Path) -> None:
    layout.prefix.mkdir(parents=True)
    make_prefix(layout)
    remove_noted(layout)
    assert layout.prefix.is_dir()
    assert below(there) == {str(there / "mine"), *map(str, [layout.prefix, *layout.prefix.parents[:2]])}


def test_what_the_user_has_put_above_a_prefix_stays(layout: Layout, there: Path) -> None:
    make_prefix(layout)
    open_prefix(layout)
    (there / "made" / "notes").touch()
    remove_prefix(layout, None, keep_models=False)
    assert below(there) == {str(there / name) for name in ("mine", "made", "made/notes")}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to somebody else")
def test_a_note_of_another_user_says_nothing(layout: Layout, there: Path) -> None:
    layout.prefix.parent.mkdir(parents=True)
    note = there / layout.parents_note
    note.touch()
    os.chown(note, 4711, 4711)
    assert noted_parents(layout) == ()
    remove_noted(layout)
    assert note.exists()
    assert layout.prefix.parent.is_dir()
