"""A selection, and the state of a machine on which all is as selected."""

from __future__ import annotations

import pytest

from provision.domain.lock import Lock, LockedPlatform, every_wheel, platform_name
from provision.domain.selection import Selection
from provision.domain.server import ServerState
from provision.domain.state import State
from provision.plan.observed import Observed
from tests.standin.selections import select_for_small_machine


@pytest.fixture
def selection() -> Selection:
    return select_for_small_machine()


@pytest.fixture
def settled(selection: Selection) -> Observed:
    state = State("lineage", serial=4, generation=3, selection=selection)
    files = {"server.json": "s", "parameters.json": "p"}
    return Observed(state, ServerState.READY, files=files, desired_files=dict(files), running=3)


@pytest.fixture
def entry(selection: Selection) -> LockedPlatform:
    """A complete one."""
    release, model = selection.release, selection.model
    wheels = every_wheel(release, model)
    return LockedPlatform(release, model, {wheel.filename: f"https://i.example/{wheel.filename}" for wheel in wheels})


def lock_with(entry: LockedPlatform) -> Lock:
    return Lock(("--model", "x"), {platform_name(entry.release): entry}, "1")
