"""A selection to start servers for."""

from __future__ import annotations

import pytest

from provision.domain.selection import Selection
from tests.standin.selections import select_for_small_machine


@pytest.fixture
def selection() -> Selection:
    return select_for_small_machine()
