"""A prefix that was copied, or moved: what serves and what lies elsewhere is the original's, and stays so."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.standin.command import Fabric


@pytest.fixture
def copy(quick: Fabric, tmp_path: Path) -> Fabric:
    """A copy of a prefix whose server runs and that has written into a file of the user's."""
    quick.succeed("up", "--no-smoke")
    shutil.copytree(quick.prefix, tmp_path / "copy", symlinks=True)
    return replace(quick, prefix=tmp_path / "copy")


@pytest.mark.fault("state-foreign")
def test_a_copy_is_told_as_one_and_leaves_the_original_alone(quick: Fabric, copy: Fabric) -> None:
    original = quick.succeed("status")
    for verb in (("up", "--no-smoke"), ("plan",), ("gc",), ("down",), ("destroy", "--yes")):
        outcome = copy(*verb, "--json")
        assert outcome.returncode == 65, outcome.said
        assert f"set up as {quick.prefix} and copied here" in outcome.json["error"]["message"]
    seen = copy.succeed("status")
    assert (seen["state"], seen["pid"]) == ("stopped", None)
    assert f"set up as {quick.prefix} and copied here" in seen["detail"]
    copy.succeed("destroy", "--yes", "--take-over")
    assert not copy.prefix.exists()
    now = quick.succeed("status")
    assert (now["state"], now["pid"]) == ("ready", original["pid"])
    assert now["drift"] == []


def test_a_copy_that_was_taken_over_serves_beside_the_original(quick: Fabric, copy: Fabric) -> None:
    original = quick.succeed("status")
    try:
        up = copy.succeed("up", "--no-smoke", "--take-over", "--port", "0")
        assert up["pid"] != original["pid"]
        seen = copy.succeed("status")
        assert (seen["state"], seen["detail"], seen["drift"]) == ("ready", None, [])
        assert copy.succeed("up", "--no-smoke", "--port", "0")["pid"] == up["pid"], "it is told once"
    finally:
        copy.succeed("destroy", "--yes")
    assert quick.succeed("status")["pid"] == original["pid"]


def test_a_prefix_that_was_moved_while_it_served_goes_on_where_it_is(quick: Fabric, tmp_path: Path) -> None:
    quick.succeed("up", "--no-smoke")
    moved = replace(quick, prefix=tmp_path / "moved")
    quick.prefix.rename(moved.prefix)
    outcome = moved("up", "--no-smoke", "--json")
    assert outcome.returncode == 65, outcome.said
    assert f"set up as {quick.prefix} and moved here" in outcome.json["error"]["message"]
    old = moved.succeed("status")["pid"]
    try:
        assert moved.succeed("up", "--no-smoke", "--take-over")["pid"] != old
        seen = moved.succeed("status")
        assert (seen["state"], seen["drift"]) == ("ready", [])
        assert not Path(f"/proc/{old}").exists(), "there are not two of them"
    finally:
        moved.succeed("destroy", "--yes")
    assert not quick.prefix.exists()
