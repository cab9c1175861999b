from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from provision.apply.journal import Journal, recover
from provision.host.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_a_run_that_finished_leaves_no_journal(layout: Layout) -> None:
    journal = Journal(layout)
    journal.begin("up")
    with journal.step("pull"):
        assert layout.journal.exists()
    journal.finish()
    assert not layout.journal.exists()
    assert recover(layout) is None


def test_every_step_is_told_before_and_after(layout: Layout) -> None:
    journal = Journal(layout)
    journal.begin("up")
    with journal.step("pull"):
        before = layout.journal.read_text(encoding="utf-8").splitlines()
    after = layout.journal.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line).get("phase") for line in before] == [None, "intent"]
    assert [json.loads(line).get("phase") for line in after] == [None, "intent", "done"]


def test_a_step_that_failed_stays_an_intent(layout: Layout) -> None:
    journal = Journal(layout)
    journal.begin("up")
    with pytest.raises(ValueError, match="no"), journal.step("config"):
        raise ValueError("no")
    assert '"done"' not in layout.journal.read_text(encoding="utf-8")


def test_an_interrupted_run_is_told_and_what_it_left_is_cleared(layout: Layout) -> None:
    journal = Journal(layout)
    journal.begin("apply")
    with journal.step("pull"):
        pass
    (layout.staging / "engine").mkdir(parents=True)
    (layout.staging / "engine" / "half").write_bytes(b"x")
    leftovers = [
        layout.prefix / ".state.json.tmp-1",
        layout.run / ".server.json.tmp-2",
        layout.secrets / ".api-key.tmp-3",
        layout.partial / ".x.part.json.tmp-4",
    ]
    for path in leftovers:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    kept = [layout.models / "model", layout.partial / "x.part", layout.partial / "x.part.json"]
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    interrupted = recover(layout)
    assert interrupted is not None
    assert (interrupted.verb, interrupted.pid, interrupted.step) == ("apply", os.getpid(), "pull")
    assert not layout.staging.exists()
    assert not layout.journal.exists()
    assert not [path for path in leftovers if path.exists()]
    assert all(path.exists() for path in kept), "a download goes on where it stopped"
    assert recover(layout) is None


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("", "the start"),
        ('{"verb": "up", "pid"', "the start"),
        ('{"verb": "up", "pid": 1}\n', "the start"),
        ('{"verb": "up", "pid": 1}\n{"step": "pull", "ph', "the start"),
        ('{"verb": "up", "pid": 1}\n{"step": "pull", "phase": "intent"}\n{"st', "pull"),
        ("\x00\x00\x00", "the start"),
        ("[1]\n5\nnull\n", "the start"),
    ],
    ids=["empty", "half a head", "head only", "half a step", "half a second step", "zeros", "nonsense"],
)
def test_a_cut_journal_is_enough(layout: Layout, text: str, step: str) -> None:
    layout.journal.write_text(text, encoding="utf-8")
    interrupted = recover(layout)
    assert interrupted is not None
    assert interrupted.step == step
    assert not layout.journal.exists()
