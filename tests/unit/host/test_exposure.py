"""Who else could put something in the place of a directory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.host import exposure
from provision.host.exposure import exposures

STRANGER = 54321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to somebody else")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory that nobody else may write to."""
    (tmp_path / "way" / "prefix").mkdir(parents=True)
    for path in (tmp_path, tmp_path / "way", tmp_path / "way" / "prefix"):
        path.chmod(0o700)
    return tmp_path


def found(path: Path) -> list[Path]:
    return [each.path for each in exposures(path)]


def test_a_private_directory_is_fine_and_so_is_one_that_is_not_there_yet(place: Path) -> None:
    assert found(place / "way" / "prefix") == []
    assert found(place / "way" / "new" / "prefix") == []


@pytest.mark.parametrize(
    ("mode", "is_exposed"), [(0o700, False), (0o755, False), (0o1777, False), (0o777, True), (0o702, True)]
)
def test_a_parent_that_everybody_may_write_to_has_to_be_sticky(place: Path, mode: int, is_exposed: bool) -> None:
    (place / "way").chmod(mode)
    assert found(place / "way" / "prefix") == ([place / "way"] if is_exposed else [])


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_the_prefix_itself_is_writable_by_nobody_else_once_it_is_used(place: Path, mode: int) -> None:
    (place / "way" / "prefix" / "state.json").touch()
    (place / "way" / "prefix").chmod(mode)
    assert found(place / "way" / "prefix") == [place / "way" / "prefix"]


def test_a_group_with_other_members_counts_and_ones_own_does_not(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "way").chmod(0o770)
    monkeypatch.setattr(exposure, "_is_own_group", lambda _gid: False)
    assert found(place / "way" / "prefix") == [place / "way"]
    monkeypatch.setattr(exposure, "_is_own_group", lambda _gid: True)
    assert found(place / "way" / "prefix") == []


@needs_root
def test_a_group_is_ones_own_where_nobody_else_is_in_it() -> None:
    import grp
    import pwd

    assert exposure._is_own_group(0)
    with_others = next(user.pw_gid for user in pwd.getpwall() if user.pw_uid != 0 and user.pw_gid != 0)
    assert not exposure._is_own_group(with_others)
    nobody_knows = max(group.gr_gid for group in grp.getgrall()) + 12345
    assert not exposure._is_own_group(nobody_knows)


@needs_root
@pytest.mark.parametrize(
    ("who", "blamed"),
    [
        (lambda place: place / "way", "way"),
        (lambda place: place / "way" / "prefix", "way/prefix"),
    ],
    ids=["parent", "prefix"],
)
def test_what_belongs_to_somebody_else_is_not_ours(place: Path, who: Callable[[Path], Path], blamed: str) -> None:
    os.chown(who(place), STRANGER, STRANGER)
    assert found(place / "way" / "prefix") == [place / blamed]


@needs_root
def test_in_a_sticky_directory_the_entry_has_to_be_ones_own(place: Path) -> None:
    (place / "way").chmod(0o1777)
    os.chown(place / "way" / "prefix", STRANGER, STRANGER)
    (place / "way" / "prefix" / "deeper").mkdir()
    assert place / "way" / "prefix" in found(place / "way" / "prefix" / "deeper")


def test_a_link_of_ones_own_leads_anywhere_that_is_private(place: Path) -> None:
    """A home is often on another disk: /home -> /data/home."""
    (place / "data" / "home").mkdir(parents=True, mode=0o700)
    (place / "home").symlink_to("data/home")
    (place / "absolute").symlink_to(place / "data" / "home")
    (place / "up").symlink_to("way/../data")
    assert found(place / "home" / "prefix") == found(place / "absolute" / "prefix") == []
    assert found(place / "up" / "home" / "prefix") == []


def test_where_a_link_leads_through_is_looked_at_too(place: Path) -> None:
    (place / "open" / "home").mkdir(parents=True)
    (place / "open").chmod(0o777)
    (place / "home").symlink_to("open/home")
    assert found(place / "home" / "prefix") == [place / "open"]


@needs_root
def test_a_link_of_somebody_else_is_not_followed_in_trust(place: Path) -> None:
    (place / "sticky").mkdir()
    (place / "sticky").chmod(0o1777)
    (place / "sticky" / "link").symlink_to(place / "way")
    os.lchown(place / "sticky" / "link", STRANGER, STRANGER)
    assert found(place / "sticky" / "link" / "prefix") == [place / "sticky" / "link"]


def test_links_in_a_circle_end(place: Path) -> None:
    (place / "a").symlink_to("b")
    (place / "b").symlink_to("a")
    assert found(place / "a" / "prefix") == []


@needs_root
def test_inside_a_user_namespace_what_belongs_to_nobody_there_is_as_good_as_roots(place: Path) -> None:
    """The kernel shows an owner that a namespace does not map as 65534; nobody in there can be that owner."""
    os.chown(place / "way" / "prefix", STRANGER, STRANGER)
    (place / "way").chmod(0o755)
    place.chmod(0o755)
    script = """
import os
from pathlib import Path
from provision.host import exposure
print(exposure._is_unmapped(65534), exposure._is_unmapped(1000))
"""
    unshared = ["unshare", "-U", "--map-user=0", sys.executable, "-c", script]
    done = subprocess.run(unshared, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr:
        pytest.skip(f"no user namespaces here: {done.stderr.strip()}")
    assert done.stdout.split() == ["True", "False"], done.stderr
    assert exposure._is_unmapped(65534) is False, "outside, it is the user nobody"


def test_a_directory_that_nobody_may_read_is_judged_by_its_mode(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_path: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "iterdir", refused)
    assert found(place / "way" / "prefix") == []
    (place / "way" / "prefix").chmod(0o770)
    assert found(place / "way" / "prefix") == [place / "way" / "prefix"]
