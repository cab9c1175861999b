"""Where a path leads, compared with what the kernel says."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from provision.facts.links import MAX_PATH, follow_links, link_name
from provision.host.machine import LocalMachine, Machine

NAMES = st.sampled_from(["a", "b", "c", "..", "."])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@given(
    links=st.dictionaries(st.sampled_from(["a", "b", "c", "d/a", "d/b"]), st.tuples(st.booleans(), PATHS)),
    path=PATHS,
)
def test_a_path_leads_where_the_kernel_says(links: dict[str, tuple[bool, str]], path: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(os.path.realpath(folder))
        (root / "d").mkdir()
        for name, (absolute, target) in links.items():
            (root / name).symlink_to(root / "d" / target if absolute else target)
        for start in (f"{root}/{path}", f"{root}/d/{path}"):
            found = follow_links(LocalMachine(), start)
            try:
                expected = Path(start).resolve(strict=True)
            except FileNotFoundError:
                assert found is None or not any(place.is_symlink() for place in (Path(found), *Path(found).parents))
            except (OSError, RuntimeError):  # a ring; Python up to 3.12 has an error of its own for it
                assert found is None
            else:
                assert found == str(expected)
                assert follow_links(LocalMachine(), f"{start}/new/model") == str(expected / "new" / "model")


def test_a_link_is_named_by_its_last_part(imagine: Callable[..., Machine]) -> None:
    machine = imagine({"/sys/driver": "../../bus/pci/drivers/amdgpu", "/sys/folder": "drivers/"})
    assert link_name(machine, "/sys/driver") == "amdgpu"
    assert link_name(machine, "/sys/folder") is None
    assert link_name(machine, "/sys/other") is None


def test_a_link_that_is_too_long_leads_nowhere(imagine: Callable[..., Machine]) -> None:
    assert follow_links(imagine({"/a": "b/" * MAX_PATH}), "/a") is None
