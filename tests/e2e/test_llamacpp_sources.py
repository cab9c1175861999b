"""llama.cpp from the archives of its releases, with a stand-in for its server inside: good ones, and bad ones."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from pathlib import Path

import pytest

from tests.standin import llama_release
from tests.standin.command import Fabric
from tests.standin.hub_server import Answer, HubServer
from tests.standin.llama_release import REPOSITORY, TAG, asset, pack, script, tree
from tests.unit.artifacts.elf_file import AARCH64, UD2, X86_64, elf

GLIBC = tuple(map(int, re.findall(r"\d+", os.confstr("CS_GNU_LIBC_VERSION") or "0.0")[:2]))
OLDEST_GLIBC = (2, 35) if platform.machine() == "x86_64" else (2, 39)
PROVEN = ("up", "--backend", "llamacpp", "--model", "smollm2-135m", "--port", "0")
UP = (*PROVEN, "--no-smoke")  # the stand-in for the wheel answers less than the smoke test asks for
ARCHIVE = ("--source", "archive")
NAME = re.compile(rf"llamacpp/archive/cpu(-arm)?@{TAG}")

pytestmark = pytest.mark.skipif(GLIBC < OLDEST_GLIBC, reason=f"the releases need glibc {OLDEST_GLIBC}")


def address(tag: str = TAG) -> str:
    return f"/{REPOSITORY}/releases/download/{tag}/{asset(tag)}"


def publish(releases: HubServer, server: bytes, tag: str = TAG) -> None:
    releases.add_release(REPOSITORY, tag, {asset(tag): pack(tree(server), f"llama-{tag}")})


def unfit(fabric: Fabric) -> list[str]:
    """Return what doctor tells of the releases that did not run here."""
    findings = json.loads(fabric("doctor", "--json").stdout)["findings"]
    return [finding["evidence"] for finding in findings if finding["code"] == "ENGINE-UNFIT"]


def engines(fabric: Fabric) -> list[str]:
    return sorted(path.name for path in (fabric.prefix / "engines").iterdir())


def test_a_release_is_fetched_checked_unpacked_tried_and_serves(
    llamacpp: Fabric, releases: HubServer, tmp_path: Path
) -> None:
    """Its server is linked to a library beside it, that has three names."""
    compiler = llama_release.compiler()
    if compiler is None:
        pytest.skip("no C compiler, and the program of this release has to be made")
    packed = pack(llama_release.compiled_tree(tmp_path, compiler))
    releases.add_release(REPOSITORY, TAG, {asset(): packed, f"llama-{TAG}-ui.tar.gz": b"not wanted"})
    up = llamacpp(*PROVEN, *ARCHIVE, "--json")
    assert up.returncode == 0, up.said
    assert (up.json["backend"], up.json["engine_version"], up.json["smoke"]["ok"]) == ("llamacpp", TAG, True)
    for said in (f"Fetching llamacpp {TAG} (", f"Unpacking llamacpp {TAG}"):
        assert said in up.stderr
    (engine,) = (llamacpp.prefix / "engines").iterdir()
    assert (engine / "libllama.so").readlink() == Path("libllama.so.0")
    server = json.loads((llamacpp.prefix / "current" / "server.json").read_text(encoding="utf-8"))
    assert server["argv"][0] == str(engine / "llama-server")
    assert {"--model", "--alias", "--ctx-size", "--threads", "--metrics", "--no-ui"} < set(server["argv"])
    before = len(releases.seen)
    again = llamacpp.succeed(*PROVEN, *ARCHIVE)
    assert (again["changed"], again["pid"]) == (False, up.json["pid"])
    assert len(releases.seen) == before
    llamacpp.succeed("down")
    assert llamacpp.server_pid() is None
    llamacpp.succeed("destroy", "--yes")
    assert not llamacpp.prefix.exists()


def test_where_the_release_is_gone_the_newest_of_its_kind_stands_in(llamacpp: Fabric, releases: HubServer) -> None:
    publish(releases, script(), "b11000")
    publish(releases, script(), "b11500")
    publish(releases, script(), "gguf-v0.19.0")
    up = llamacpp.succeed(*PROVEN, *ARCHIVE)
    assert (up["engine_version"], up["smoke"]["ok"]) == ("b11500", True)
    assert llamacpp.succeed(*UP, *ARCHIVE)["changed"] is False


@pytest.mark.fault("byte-flipped")
def test_bytes_that_are_not_those_of_the_release_are_refused(llamacpp: Fabric, releases: HubServer) -> None:
    publish(releases, script())
    listed = f"/repos/{REPOSITORY}/releases/tags/{TAG}"
    size = len(pack(tree(script())))
    told = {"name": asset(), "size": size, "digest": f"sha256:{'0' * 64}"}
    releases.scripted[listed] = Answer(body=json.dumps({"tag_name": TAG, "assets": [told]}).encode())
    up = llamacpp(*UP, *ARCHIVE)
    assert up.returncode == 77, up.said
    assert "0" * 64 in up.stderr
    assert not (llamacpp.prefix / "engines").exists()


def test_a_hash_that_nobody_has_told_is_learnt_and_expected_from_then_on(llamacpp: Fabric, releases: HubServer) -> None:
    first = pack(tree(script()))
    second = first[:-1] + bytes([first[-1] ^ 1])
    releases.add_release(REPOSITORY, TAG, {asset(): first}, has_digests=False)
    up = llamacpp(*UP, *ARCHIVE, "--json")
    assert up.returncode == 0, up.said
    assert f"{asset()} is unverified" in up.stderr
    assert llamacpp.succeed(*UP, *ARCHIVE)["changed"] is False
    (engine,) = (llamacpp.prefix / "engines").iterdir()
    (engine / "llama-server").unlink()
    releases.add_release(REPOSITORY, TAG, {asset(): second}, has_digests=False)
    again = llamacpp(*UP, *ARCHIVE)
    assert again.returncode == 77, again.said
    assert hashlib.sha256(first).hexdigest() in again.stderr
    assert hashlib.sha256(second).hexdigest() in again.stderr


OTHER_MACHINE = X86_64 if platform.machine() == "aarch64" else AARCH64
UNFIT = {
    "an instruction that this processor lacks": (elf(UD2), "illegal instruction"),
    "another processor": (elf(machine=OTHER_MACHINE), "it was made for"),
    "another C library": (elf(interpreter=b"/lib/ld-musl-none.so.1"), "such as Alpine"),
    "no program": (b"\x7fELF", "it is damaged"),
    "another program": (b"#!/bin/true\n", "not what a llama-server says"),
    "a program that fails": (b"#!/bin/sh\nexit 3\n", "it ended with status 3"),
    "known security holes": (script(STANDIN_VERSION="version: 11000 (0c1e570)"), "b11000 has known security holes"),
    "an option that it lacks": (script(STANDIN_WITHOUT="--host"), "does not know the options --host"),
}


@pytest.mark.fault("engine-does-not-run")
@pytest.mark.parametrize(("server", "why"), UNFIT.values(), ids=UNFIT.keys())
def test_what_does_not_run_here_is_told_removed_and_not_tried_again(
    llamacpp: Fabric, releases: HubServer, server: bytes, why: str
) -> None:
    publish(releases, server)
    up = llamacpp(*UP, "--json")
    assert up.returncode == 0, up.said
    assert why in up.stderr
    assert "Trying the next source" in up.stderr
    (kept,) = engines(llamacpp)
    assert up.json["engine_version"] in kept
    assert TAG not in kept
    assert not (llamacpp.prefix / "staging").exists()
    (told,) = unfit(llamacpp)
    assert NAME.match(told)
    assert why in told
    again = llamacpp.succeed(*UP)
    assert (again["changed"], again["pid"]) == (False, up.json["pid"])
    assert len(releases.requests(address())) == 1
    tried_again = llamacpp(*UP, "--refresh", "--json")
    assert tried_again.returncode == 0, tried_again.said
    assert why in tried_again.stderr
    assert tried_again.json["pid"] == up.json["pid"]
    assert len(releases.requests(address())) == 2
    assert unfit(llamacpp) == [told]


@pytest.mark.fault("engine-does-not-run")
def test_a_library_that_is_missing_is_named(llamacpp: Fabric, releases: HubServer, tmp_path: Path) -> None:
    compiler = llama_release.compiler()
    if compiler is None:
        pytest.skip("no C compiler, and the program of this release has to be made")
    made = llama_release.compiled_tree(tmp_path, compiler)
    releases.add_release(REPOSITORY, TAG, {asset(): pack({name: made[name] for name in ("llama-server", "LICENSE")})})
    up = llamacpp(*UP, "--json")
    assert up.returncode == 0, up.said
    assert "libllama.so.0" in up.stderr
    assert ["libllama.so.0" in told for told in unfit(llamacpp)] == [True]


@pytest.mark.fault("engine-does-not-run")
def test_without_another_source_nothing_is_installed(llamacpp: Fabric, releases: HubServer) -> None:
    publish(releases, elf(UD2))
    up = llamacpp(*UP, *ARCHIVE, "--json")
    assert up.returncode == 1
    assert up.json["error"]["code"] == "engine-unfit"
    assert "illegal instruction" in up.json["error"]["message"]
    assert not (llamacpp.prefix / "engines").exists() or engines(llamacpp) == []
    assert ["illegal instruction" in told for told in unfit(llamacpp)] == [True]


def test_all_that_did_not_run_is_told_until_it_runs(llamacpp: Fabric, releases: HubServer, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "llama-server"
    program.parent.mkdir()
    program.write_bytes(script(STANDIN_VERSION="version: 11000 (0c1e570)"))
    program.chmod(0o755)
    llamacpp.variables["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    publish(releases, elf(UD2))
    llamacpp.succeed(*UP)
    existing, archive = unfit(llamacpp)
    assert existing.startswith(f"llamacpp/existing/existing-cpu@{program}: ")
    assert NAME.match(archive)
    releases.releases.clear()
    publish(releases, script())
    assert llamacpp.succeed(*UP)["changed"] is False
    assert llamacpp.succeed(*UP, "--refresh")["engine_version"] == TAG
    assert unfit(llamacpp) == [existing]


def test_another_release_is_tried_although_the_one_before_did_not_run(llamacpp: Fabric, releases: HubServer) -> None:
    """What did not run is remembered by its tag, so that a fabric with a newer pin tries that."""
    publish(releases, elf(UD2))
    llamacpp.succeed(*UP)
    assets = Path(llamacpp.variables["STANDIN_ASSETS"])
    profile = assets / "profiles" / "engines" / "llamacpp.yaml"
    pinned = profile.read_text(encoding="utf-8")
    publish(releases, script(), "b11435")
    try:
        profile.write_text(pinned.replace(TAG, "b11435"), encoding="utf-8")
        assert llamacpp.succeed(*UP, *ARCHIVE)["engine_version"] == "b11435"
    finally:
        profile.write_text(pinned, encoding="utf-8")
