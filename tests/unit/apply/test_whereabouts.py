"""What counts of a state in another place than the one where it was written."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from provision.apply.records import record
from provision.apply.state import open_prefix, write_state
from provision.apply.whereabouts import check_whereabouts, taken_over, why_elsewhere
from provision.domain.state import ConfigFile, ServiceUnit, State
from provision.errors import InvalidInputError
from provision.host.layout import Layout


@pytest.fixture
def state(layout: Layout) -> State:
    """One with a service, a file of the user's, and three engines, of which two name the prefix."""
    for name in ("linked", "named", "free"):
        (layout.engines / name).mkdir(parents=True)
    (layout.engines / "linked" / "python").symlink_to(layout.prefix / "python" / "bin" / "python")
    (layout.engines / "named" / "server").write_bytes(b"\x7fELF" + bytes(layout.engines / "named" / "lib"))
    (layout.engines / "free" / "direct_url.json").write_bytes(bytes(layout.staging / "a.whl"))
    entries = {name: record(layout, "engine", name, layout.engines / name) for name in ("linked", "named", "free")}
    unit = ServiceUnit("systemd", "fabric", "/somewhere/fabric.service", ("0",))
    files = (ConfigFile("/somewhere/config.json", "f", "json", "a", None, ()),)
    return write_state(layout, replace(open_prefix(layout), unit=unit, config_files=files, entries=entries))


def test_where_it_was_written_all_of_it_counts(layout: Layout, state: State, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(layout.prefix)
    for place in (layout, Layout(tmp_path / "link")):
        check_whereabouts(place, state)
        assert taken_over(place, state) == state


def test_of_a_copy_nothing_outside_counts_and_no_engine_that_names_the_original(
    layout: Layout, state: State, tmp_path: Path
) -> None:
    shutil.copytree(layout.prefix, tmp_path / "copy", symlinks=True)
    copy = Layout(tmp_path / "copy")
    assert why_elsewhere(copy, state).endswith("copied here")
    with pytest.raises(InvalidInputError, match="copied here"):
        open_prefix(copy)
    now = open_prefix(copy, take_over=True)
    assert (now.unit, now.config_files, set(now.entries)) == (None, (), {"free"})
    assert open_prefix(copy) == now


def test_what_was_moved_is_the_same_one(layout: Layout, state: State, tmp_path: Path) -> None:
    layout.prefix.rename(tmp_path / "moved")
    moved = Layout(tmp_path / "moved")
    assert why_elsewhere(moved, state).endswith("moved here")
    now = open_prefix(moved, take_over=True)
    assert (now.unit, now.config_files, set(now.entries)) == (state.unit, state.config_files, {"free"})
