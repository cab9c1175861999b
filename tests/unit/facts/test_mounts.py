from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.facts.mounts import Mount, ancestors, holding, is_within, parse_mounts


def compose(mount: str) -> str:
    """Make a line of mountinfo from ``id parent point source``."""
    number, parent, point, source = mount.split(" ")
    return f"{number} {parent} 0:{number} / {point} rw,relatime shared:{number} - btrfs {source} rw\n"


def test_a_line_with_and_without_optional_fields() -> None:
    text = (
        "36 35 98:0 /mnt1 /mnt/my\\040disk rw,noatime master:1 propagate_from:2 - ext3 /dev/root rw,errors=continue\n"
        "25 20 0:23 / /run ro - tmpfs tmpfs rw,mode=755\n"
    )
    assert parse_mounts(text) == (
        Mount(36, 35, "/mnt/my disk", "ext3", "/dev/root", frozenset({"rw", "noatime", "errors=continue"}), True),
        Mount(25, 20, "/run", "tmpfs", "tmpfs", frozenset({"ro", "rw", "mode=755"}), False),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "22 1 254:1 / / rw - ext4 /dev/root rw",
        "22 1 254:1 / / rw - ext4 /dev/root rw\n30 22 0:",
        "nonsense\n",
        "22 1 254:1 / / rw ext4 /dev/root rw\n",
        "x 1 254:1 / / rw - ext4 /dev/root rw\n",
        "22 1 254:1 / / rw - ext4\n",
        "22 1 254:1 / / rw - ext4 /dev/root rw\n\n",
    ],
    ids=["empty", "no end", "cut", "words", "no separator", "no number", "no options", "an empty line"],
)
def test_another_format_and_a_part_of_it_make_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_mounts(text)


@pytest.mark.cases("mounts")
def test_the_mount_that_holds_a_path(case: dict[str, Any]) -> None:
    mounts = parse_mounts("".join(map(compose, case["mounts"])))
    found = holding(case["path"], mounts)
    assert (found.source if found else None) == case["holds"]


def test_the_way_down() -> None:
    assert list(ancestors("/a/bc/d")) == ["/", "/a", "/a/bc", "/a/bc/d"]
    assert list(ancestors("/")) == ["/"]


@given(st.text() | st.text(alphabet="0123456789:/ -rw\n\\,"))
def test_any_text_is_mounts_or_makes_no_sense(text: str) -> None:
    try:
        mounts = parse_mounts(text)
    except ValueError:
        return
    assert all(isinstance(mount, Mount) for mount in mounts)


points = st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "/ab", "/c"])


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9), points), max_size=9), st.sampled_from(["/a/b/c/d", "/"])
)
def test_what_holds_a_path_is_above_it(lines: list[tuple[int, int, str]], path: str) -> None:
    mounts = [Mount(number, parent, point, "ext4", "x", frozenset(), True) for number, parent, point in lines]
    found = holding(path, mounts)
    assert found is None or (found in mounts and is_within(path, found.point))
