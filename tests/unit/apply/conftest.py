"""What the tests of changing a machine share."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.apply.state import open_prefix
from provision.host.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A prefix in which nothing was made yet."""
    layout = Layout(tmp_path / "prefix")
    open_prefix(layout)
    return layout
