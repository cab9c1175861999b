"""A file of the user's is written, edited, taken back; whoever is killed meanwhile, nothing of it is lost."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from provision.apply import config_files
from provision.apply.config_copies import Rendered
from provision.apply.config_files import TakenBack, take_each_back, write
from provision.apply.destroy import remove_prefix
from provision.apply.state import open_prefix, read_state
from provision.domain.state import State
from provision.errors import CannotCreateError, FabricError, InvalidInputError, RefusedError, UsageError
from provision.host.layout import Layout
from tests.e2e.traces import below

OURS = Rendered("opencode", "json", '{\n  "env": {"B": "ours"}\n}\n')
OTHER = Rendered("opencode", "json", '{\n  "env": {"C": "ours"}\n}\n')
LINES = Rendered("env", "shell", "export A=1\n")
MINE = '{\n  // mine\n  "env": {"A": "mine"}\n}\n'


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "home" / "settings.json"
    path.parent.mkdir()
    path.write_text(MINE, encoding="utf-8")
    path.chmod(0o640)
    return path


def state_of(layout: Layout) -> State:
    return read_state(layout) or open_prefix(layout)


def put(layout: Layout, path: Path, rendered: Rendered = OURS) -> config_files.Written:
    return write(layout, state_of(layout), path, rendered)


def undo(layout: Layout, *, for_good: bool = False) -> list[TakenBack]:
    state = state_of(layout)
    return take_each_back(layout, state, state.config_files, for_good=for_good)[0]


def outcomes(done: list[TakenBack]) -> list[str]:
    return [each.outcome for each in done]


def test_it_is_merged_and_comes_back_byte_by_byte(layout: Layout, mine: Path) -> None:
    written = put(layout, mine)
    assert written.changed
    assert written.backup is not None
    assert written.backup.read_text(encoding="utf-8") == MINE
    assert written.backup.stat().st_mode & 0o777 == 0o600
    assert written.backup.parent.stat().st_mode & 0o777 == 0o700
    assert '"A": "mine", "B": "ours"' in mine.read_text(encoding="utf-8")
    assert mine.stat().st_mode & 0o777 == 0o640
    assert outcomes(undo(layout)) == ["restored"]
    assert mine.read_text(encoding="utf-8") == MINE
    assert mine.stat().st_mode & 0o777 == 0o640
    assert undo(layout) == []
    assert not layout.config_files.exists()


def test_writing_it_again_changes_nothing(layout: Layout, mine: Path) -> None:
    put(layout, mine)
    before, serial = mine.stat(), state_of(layout).serial
    assert not put(layout, mine).changed
    assert (mine.stat().st_mtime_ns, mine.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert state_of(layout).serial == serial


def test_what_is_written_anew_takes_the_place_of_what_was_written_before(layout: Layout, mine: Path) -> None:
    put(layout, mine)
    put(layout, mine, OTHER)
    text = mine.read_text(encoding="utf-8")
    assert '"C"' in text
    assert '"B"' not in text
    assert len(list(layout.config_files.iterdir())) == 2
    assert outcomes(undo(layout)) == ["restored"]
    assert mine.read_text(encoding="utf-8") == MINE


def test_edits_between_two_writes_and_afterwards_stay(layout: Layout, mine: Path) -> None:
    put(layout, mine)
    mine.write_text(mine.read_text(encoding="utf-8").replace('"A": "mine"', '"A": "first edit"'), encoding="utf-8")
    put(layout, mine, OTHER)
    mine.write_text(mine.read_text(encoding="utf-8").replace("// mine", "// second edit"), encoding="utf-8")
    assert outcomes(undo(layout)) == ["edited"]
    assert mine.read_text(encoding="utf-8") == MINE.replace('"mine"', '"first edit"').replace(
        "// mine", "// second edit"
    )


def test_a_new_file_is_private_and_goes_with_the_directories_made_for_it(layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "settings.json"
    assert put(layout, path).backup is None
    assert path.read_text(encoding="utf-8") == OURS.text
    assert path.stat().st_mode & 0o777 == 0o600
    assert outcomes(undo(layout)) == ["removed"]
    assert not (tmp_path / "a").exists()


def test_a_directory_that_somebody_uses_stays(layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "settings.json"
    put(layout, path)
    (tmp_path / "a" / "theirs").touch()
    undo(layout)
    assert below(tmp_path / "a") == {str(tmp_path / "a" / "theirs")}


def test_a_link_stays_a_link_and_what_it_leads_to_is_written(layout: Layout, mine: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(mine)
    assert put(layout, link).path == mine
    assert link.is_symlink()
    assert not put(layout, mine).changed, "the same file by another name"
    undo(layout)
    assert link.is_symlink()
    assert link.read_text(encoding="utf-8") == MINE


def test_home_is_understood(layout: Layout, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(mine.parent))
    assert put(layout, Path("~/settings.json")).path == mine


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda path: path.write_text("{", encoding="utf-8"), InvalidInputError),
        (lambda path: path.write_bytes(b'{"a": "\xff"}'), InvalidInputError),
        (lambda path: path.chmod(0o440), CannotCreateError),
        (lambda path: (path.unlink(), path.mkdir()), UsageError),
        (replace_by_pipe, UsageError),
        (lambda path: os.truncate(path, 5 << 20), InvalidInputError),
    ],
    ids=["no JSON", "no UTF-8", "read-only", "a directory", "a pipe", "too large"],
)
def test_what_cannot_be_written_stays_as_it_is(
    layout: Layout, mine: Path, spoil: Callable[[Path], Any], error: type[FabricError]
) -> None:
    spoil(mine)
    looked = mine.lstat()
    with pytest.raises(error) as raised:
        put(layout, mine)
    assert str(mine) in raised.value.message
    assert raised.value.hint
    assert (mine.lstat().st_ino, mine.lstat().st_mtime_ns) == (looked.st_ino, looked.st_mtime_ns)
    assert state_of(layout).config_files == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of somebody else's")
def test_a_file_of_somebody_else_is_refused(layout: Layout, mine: Path) -> None:
    os.chown(mine, 12345, 12345)
    with pytest.raises(RefusedError, match="12345"):
        put(layout, mine)
    assert mine.read_text(encoding="utf-8") == MINE


@pytest.mark.parametrize("name", ["prefix/state.json", "prefix/new/x.json", "link/x.json"])
def test_a_file_of_fabrics_own_is_refused(layout: Layout, tmp_path: Path, name: str) -> None:
    (tmp_path / "link").symlink_to(layout.prefix)
    before = below(layout.prefix)
    with pytest.raises(RefusedError, match="fabric's own"):
        put(layout, tmp_path / name)
    assert below(layout.prefix) == before


def test_a_name_that_is_no_text_is_refused(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not UTF-8"):
        put(layout, tmp_path / os.fsdecode(b"\xff.json"))


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127])
def test_a_name_may_be_as_long_as_names_can_be(layout: Layout, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(MINE, encoding="utf-8")
    put(layout, tmp_path / name)
    assert outcomes(undo(layout)) == ["restored"]
    assert (tmp_path / name).read_text(encoding="utf-8") == MINE


def test_what_could_not_be_written_is_not_remembered(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(CannotCreateError):
        put(layout, tmp_path / "made" / ("n" * 300) / "settings.json")
    assert state_of(layout).config_files == ()
    assert not layout.config_files.exists()
    assert not (tmp_path / "made").exists()


def test_below_something_that_is_no_directory_nothing_can_be_written(layout: Layout, mine: Path) -> None:
    with pytest.raises(CannotCreateError) as raised:
        put(layout, mine / "settings.json")
    assert "--home" not in (raised.value.hint or "")


def test_a_file_that_was_removed_is_gone_and_what_stood_there_lies_beside(layout: Layout, mine: Path) -> None:
    put(layout, mine)
    mine.unlink()
    (done,) = undo(layout)
    assert done.outcome == "gone"
    assert done.aside == f"{mine}.before-fabric"
    assert Path(done.aside).read_text(encoding="utf-8") == MINE


def test_what_cannot_be_taken_back_stays_and_what_stood_there_lies_beside(layout: Layout, mine: Path) -> None:
    put(layout, mine)
    mine.write_text("{ broken", encoding="utf-8")
    taken = mine.with_name("settings.json.before-fabric")
    taken.write_text("somebody else's", encoding="utf-8")
    (done,) = undo(layout, for_good=True)
    assert (done.outcome, done.aside) == ("left", f"{taken}-2")
    assert "cannot be read" in (done.why or "")
    assert mine.read_text(encoding="utf-8") == "{ broken"
    assert Path(done.aside or "").read_text(encoding="utf-8") == MINE
    assert taken.read_text(encoding="utf-8") == "somebody else's"


def test_a_copy_that_somebody_removed_is_told(layout: Layout, mine: Path) -> None:
    written = put(layout, mine)
    assert written.backup is not None
    written.backup.unlink()
    (done,) = undo(layout)
    assert done.outcome == "left"
    assert "is gone" in (done.why or "")


def test_another_format_in_the_same_file_takes_the_place_of_the_first(layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / ".profile"
    path.write_text("x=1", encoding="utf-8")
    put(layout, path, LINES)
    put(layout, path, Rendered("open-webui", "shell", "export B=2\n"))
    text = path.read_text(encoding="utf-8")
    assert "export B=2" in text
    assert "export A=1" not in text
    undo(layout)
    assert path.read_text(encoding="utf-8") == "x=1"


def test_which_format_was_there_is_told(layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / ".profile"
    other = Rendered("open-webui", "shell", "export B=2\n")
    assert [put(layout, path, each).replaced for each in (LINES, LINES, other)] == [None, None, "env"]


def test_destroy_takes_everything_back_and_keeps_no_copy(layout: Layout, mine: Path, tmp_path: Path) -> None:
    was = below(mine.parent)
    put(layout, mine)
    put(layout, mine.parent / "new" / "settings.json")
    removal = remove_prefix(layout, state_of(layout), keep_models=False)
    assert outcomes(list(removal.taken_back)) == ["restored", "removed"]
    assert removal.removed == (str(mine.parent / "new" / "settings.json"), str(layout.prefix))
    assert mine.read_text(encoding="utf-8") == MINE
    assert below(mine.parent) == was
    assert not layout.prefix.exists()


def test_destroy_without_a_state_moves_the_copies_beside_the_prefix(layout: Layout, mine: Path) -> None:
    put(layout, mine)
    remove_prefix(layout, None, keep_models=False)
    kept = layout.prefix.with_name("prefix.config-files")
    assert MINE in [path.read_text(encoding="utf-8") for path in kept.iterdir()]
    assert not layout.prefix.exists()


def test_destroy_goes_no_further_where_the_only_copy_would_be_lost(
    layout: Layout, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(layout, mine)
    mine.write_text("{ broken", encoding="utf-8")

    def no_space(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(config_files, "commit", no_space)
    with pytest.raises(CannotCreateError):
        remove_prefix(layout, state_of(layout), keep_models=False)
    monkeypatch.undo()
    (done,) = undo(layout, for_good=True)
    assert Path(done.aside or "").read_text(encoding="utf-8") == MINE


def test_files_that_an_older_version_wrote_are_honoured(layout: Layout, tmp_path: Path) -> None:
    old = tmp_path / "client.env"
    old.write_text("export A=1\n", encoding="utf-8")
    state = json.loads(layout.state.read_text(encoding="utf-8")) if layout.state.exists() else {"lineage": "l"}
    layout.state.write_text(json.dumps({**state, "written_files": [str(old)]}), encoding="utf-8")
    put(layout, old, LINES)
    assert state_of(layout).written_files == ()
    assert outcomes(undo(layout)) == ["removed"]
    old.write_text("export A=1\n", encoding="utf-8")
    layout.state.write_text(json.dumps({**state, "written_files": [str(old)]}), encoding="utf-8")
    assert outcomes(list(remove_prefix(layout, state_of(layout), keep_models=False).taken_back)) == ["removed"]
    assert not old.exists()


POINTS = {
    "write": ("replace", "unlink", "mkdir", "fsync"),
    "write anew": ("replace", "unlink", "mkdir", "fsync"),
    "undo": ("replace", "unlink", "rmdir", "fsync"),
}


@pytest.mark.parametrize(
    ("action", "point"), [(action, point) for action, points in POINTS.items() for point in points]
)
def test_whoever_is_killed_anywhere_leaves_a_file_that_comes_back(
    layout: Layout, mine: Path, point: str, action: str
) -> None:
    """The file is always the old or the new one, and what follows is as if nothing had happened."""
    new, whole = mine.parent / "made" / "settings.json", below(mine.parent)
    for moment in range(1, 60):
        if action != "write":
            put(layout, mine)
            put(layout, new)
        survived = act_until_killed(layout, (mine, new), action, (point, moment))
        assert mine.read_text(encoding="utf-8") in (
            MINE,
            MINE.replace('"mine"}', '"mine", "B": "ours"}'),
            MINE.replace('"mine"}', '"mine", "C": "ours"}'),
        )
        undo(layout)
        assert mine.read_text(encoding="utf-8") == MINE, f"{point} {moment}"
        assert below(mine.parent) == whole, f"{point} {moment}"
        if survived:
            assert moment > 1, "nobody was killed"
            return
    pytest.fail("there are more moments than were tried")


def act_until_killed(layout: Layout, paths: tuple[Path, Path], action: str, when: tuple[str, int]) -> bool:
    """Act in a process of its own, which is killed instead of the given call; return whether it came to its end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child does nothing that needs another thread
        child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    point, moment = when
    calls, real = count(1), getattr(os, point)

    def dying(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    setattr(os, point, dying)
    try:
        if action == "undo":
            undo(layout)
        for path in paths if action != "undo" else ():
            put(layout, path, OURS if action == "write" else OTHER)
    finally:
        os._exit(sys.exc_info()[0] is not None)
