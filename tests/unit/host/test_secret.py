"""Whose key is used, and when one is there at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.errors import UsageError
from provision.host.layout import Layout
from provision.host.secret import (
    check_key,
    fingerprint,
    key_of,
    replaced_key,
    store_key,
    stored_fingerprint,
    stored_key,
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_the_variable_goes_before_what_is_stored(layout: Layout) -> None:
    store_key("K", {"K": "old"}, layout)
    assert key_of("K", {"K": " new "}, layout) == "new"
    assert key_of("K", {"K": " "}, layout) == "old"
    assert key_of(None, {"K": "new"}, layout) is None, "none is wanted"
    assert fingerprint("K", {}, layout) == stored_fingerprint(layout) != fingerprint("K", {"K": "new"}, layout)


def test_what_is_stored_for_another_host_does_not_count(layout: Layout) -> None:
    store_key("K", {"K": "old"}, layout)
    check_key("K", {}, layout)
    check_key("K", {"K": "new"}, layout, stored_counts=False)
    with pytest.raises(UsageError, match="K holds no API key"):
        check_key("K", {}, layout, stored_counts=False)


@pytest.mark.parametrize(
    ("wanted", "stored"),
    [
        (("K", {"K": "new"}), ("old", None, "new")),
        (("K", {"K": "new"}), (None, None, "new")),
        (("K", {}), ("old", "old", "old")),
        (("K", {"K": "old"}), ("old", "old", "old")),
        ((None, {"K": "new"}), ("old", None, None)),
    ],
)
def test_while_it_changes_whom_it_is_for_no_other_key_is_there(
    layout: Layout, wanted: tuple[str | None, dict[str, str]], stored: tuple[str | None, str | None, str | None]
) -> None:
    before, meanwhile, after = stored
    if before:
        store_key("K", {"K": before}, layout)
    with replaced_key(*wanted, layout):
        assert stored_key(layout) == meanwhile
    assert stored_key(layout) == after
