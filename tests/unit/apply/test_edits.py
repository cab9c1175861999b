"""What a person has added is kept where something else takes its place, whatever it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from provision.apply.edits import keep_edits
from provision.domain.drift import Drift, DriftKind
from provision.domain.resource import Kind
from provision.host.layout import Layout


def test_files_are_copied_and_what_is_none_is_moved_unread(layout: Layout) -> None:
    tree = layout.engines / "x"
    tree.mkdir(parents=True)
    (tree / "notes").write_text("mine", encoding="utf-8")
    (tree / "led").symlink_to("/etc")
    os.mkfifo(tree / "pipe")
    added = [Drift(DriftKind.EXTRA, Kind.ENGINE, "x", "added", str(path)) for path in sorted(tree.iterdir())]
    kept = keep_edits(layout, added, [Kind.ENGINE])
    assert {path.name: copy.name for path, copy in kept.items()} == {
        "led": "engines-x-led",
        "notes": "engines-x-notes",
        "pipe": "engines-x-pipe",
    }
    assert (layout.kept / "engines-x-led").readlink() == Path("/etc")
    assert stat.S_ISFIFO((layout.kept / "engines-x-pipe").lstat().st_mode)
    assert [path.name for path in tree.iterdir()] == ["notes"]
    again = keep_edits(layout, added, [Kind.ENGINE])
    assert list(again.values()) == [layout.kept / "engines-x-notes"], "a copy that is there is not made again"
