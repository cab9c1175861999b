"""What all tests share: the checkout on the import path, so that ``tests.standin`` can be imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

# These hold assertions, which pytest explains only where it is told to.
pytest.register_assert_rewrite(
    "tests.e2e.traces",
    "tests.e2e.openai_client",
    "tests.standin.command",
    "tests.faults.oracle",
    "tests.faults.aftermath",
)

pytest_plugins = ["tests.faults.tally", "tests.faults.aftermath"]

# How long an example takes says something of the machine, and nothing of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
