"""``fabric lock --upgrade``: the newest there is, for all machines of a lock; nothing but the lock is written."""

from __future__ import annotations

import platform
import re
import shlex
from pathlib import Path

import pytest

from tests.e2e.test_locked_sources import ARCHIVE, HUB, OLD, here, locked, sites
from tests.e2e.test_locks_and_bundles import WISH, lock_of
from tests.standin.command import Fabric
from tests.standin.hub_server import HubServer
from tests.standin.llama_release import REPOSITORY, TAG, asset, pack, script, tree
from tests.unit.artifacts.gguf_file import KEYS, gguf

__all__ = ["here", "sites"]  # fixtures

NEWER, FIXED = "b11600", "b11865"  # the second has one advisory less
needs_archives = pytest.mark.skipif(OLD, reason="the releases need more")


def publish(sites: HubServer, tag: str, *others: str) -> bytes:
    """Publish a release for this machine and for the processors of ``others``; return this machine's archive."""
    said = f"version: {tag.removeprefix('b')} (0c1e570)"
    archive = pack(tree(script(STANDIN_VERSION=said)), f"llama-{tag}")
    names = [asset(tag), *(f"llama-{tag}-bin-ubuntu-{other}.tar.gz" for other in others)]
    sites.add_release(REPOSITORY, tag, dict.fromkeys(names, archive))
    return archive


@needs_archives
def test_the_newest_release_is_pinned_and_nothing_moves_until_up(here: Fabric, sites: HubServer) -> None:
    (name,) = here.succeed("lock", *ARCHIVE)["platforms"]
    before = lock_of(here).read_bytes()
    archive = publish(sites, FIXED)
    assert here.succeed("lock", *ARCHIVE)["changed"] is False, "only an upgrade takes what the data do not name"
    shown = here.succeed("lock", *ARCHIVE, "--upgrade", "--check")
    assert (shown["changed"], shown["written"], lock_of(here).read_bytes()) == (True, False, before)
    done = here.succeed("lock", *ARCHIVE, "--upgrade")
    assert done["written"] is True
    assert done["upgrades"] == shown["upgrades"]
    told = done["upgrades"][name]
    assert (told["before"]["engine_version"], told["after"]["engine_version"]) == (TAG, FIXED)
    assert told["fetch_bytes"] == len(archive)
    assert [each["id"] for each in told["advisories"]["fixed"]] == ["CVE-2026-118375"]
    assert told["advisories"]["new"] == []
    assert not list(here.prefix.glob("engines/*"))
    assert not (here.prefix / "current").exists()
    upgraded = lock_of(here).read_bytes()
    for again in (("--upgrade",), ()):
        assert here.succeed("lock", *ARCHIVE, *again)["changed"] is False, "a lock does not go back"
        assert lock_of(here).read_bytes() == upgraded
    assert here.succeed("up", "--no-smoke", "--port", "0", "--locked", *ARCHIVE)["engine_version"] == FIXED


@needs_archives
def test_it_is_said_in_words_what_is_crossed_and_that_only_the_lock_was_written(here: Fabric, sites: HubServer) -> None:
    here.succeed("lock", *ARCHIVE)
    publish(sites, FIXED)
    said = here("lock", *ARCHIVE, "--upgrade").stdout
    assert f"engine {TAG} to {FIXED}; " in said
    assert "fixed    CVE-2026-118375: " in said
    assert "Only the lock was written" in said
    assert "Nothing to upgrade." in here("lock", *ARCHIVE, "--upgrade").stdout


@needs_archives
def test_a_release_that_lacks_a_file_is_passed_by(here: Fabric, sites: HubServer) -> None:
    here.succeed("lock", *ARCHIVE)
    publish(sites, NEWER)
    sites.add_release(REPOSITORY, "b11601", {"llama-b11601-bin-ubuntu-other.tar.gz": b"x"})
    (told,) = here.succeed("lock", *ARCHIVE, "--upgrade")["upgrades"].values()
    assert told["after"]["engine_version"] == NEWER


@needs_archives
def test_what_is_pinned_is_not_older_than_what_the_data_name(here: Fabric, sites: HubServer) -> None:
    sites.releases.clear()
    publish(sites, TAG)
    publish(sites, "b11400")
    (told,) = here.succeed("lock", *ARCHIVE, "--upgrade")["platforms"].values()
    assert told["engine_version"] == TAG


@needs_archives
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the other machine is an Arm one")
def test_other_machines_are_upgraded_too_or_it_is_told_why_not(here: Fabric, sites: HubServer) -> None:
    here.succeed("lock", *ARCHIVE)
    mine = lock_of(here).read_text(encoding="utf-8")
    theirs = mine.partition("[platforms.")[2].replace("linux-x86_64-cpu", "linux-aarch64-cpu")
    arm = theirs.replace('arch = "x86_64"', 'arch = "aarch64"').replace('build = "cpu"', 'build = "cpu-arm"')
    lock_of(here).write_text(f"{mine}\n[platforms.{arm}", encoding="utf-8")
    publish(sites, NEWER)
    first = here.succeed("lock", *ARCHIVE, "--upgrade")
    assert {change["platform"]: change["action"] for change in first["changes"]} == {
        "linux-aarch64-cpu": "none",
        "linux-x86_64-cpu": "update",
    }
    assert "has no file like llama-" in first["not_upgraded"]["linux-aarch64-cpu"]
    publish(sites, FIXED, "arm64")
    both = here.succeed("lock", *ARCHIVE, "--upgrade")
    assert both["not_upgraded"] == {}
    assert {told["after"]["engine_version"] for told in both["upgrades"].values()} == {FIXED}
    release = locked(here).platforms["linux-aarch64-cpu"].release
    assert (release.arch, release.build) == ("aarch64", "cpu-arm")
    assert [file.path for file in release.files] == [f"llama-{FIXED}-bin-ubuntu-arm64.tar.gz"]
    assert here.succeed("lock", "--check", *ARCHIVE)["changed"] is False


def test_a_model_that_moved_is_told_with_both_revisions(here: Fabric, sites: HubServer, tmp_path: Path) -> None:
    (first,) = here.succeed("lock", *HUB)["platforms"].values()
    (tmp_path / "published" / "tiny.gguf").write_bytes(gguf(KEYS[:7]))
    sites.add_repository("team/tiny", tmp_path / "published", card={"license": "apache-2.0"})
    (told,) = here.succeed("lock", *HUB, "--upgrade")["upgrades"].values()
    assert told["before"]["revision"] == first["revision"] != told["after"]["revision"]
    assert told["fetch_bytes"] == len(gguf(KEYS[:7]))
    assert told["before"]["engine_version"] == told["after"]["engine_version"]


def test_nothing_to_upgrade_is_no_failure_and_changes_no_byte(quick: Fabric) -> None:
    quick.succeed("lock", *WISH)
    before = lock_of(quick).read_bytes()
    done = quick.succeed("lock", *WISH, "--upgrade")
    assert (done["changed"], done["written"], done["upgrades"]) == (False, False, {})
    assert lock_of(quick).read_bytes() == before


@needs_archives
def test_where_nothing_is_wished_for_it_is_what_the_lock_was_made_for(here: Fabric, sites: HubServer) -> None:
    here.succeed("lock", *ARCHIVE)
    publish(sites, FIXED)
    shown = here.succeed("lock", "--upgrade", "--check")
    done = here("lock", "--upgrade", "--json")
    assert shown["upgrades"] == done.json["upgrades"] != {}
    assert done.json["wish"] == shown["wish"] == list(locked(here).wish)
    assert f"Upgrading what fabric.lock was made for: {' '.join(locked(here).wish)}" in done.stderr
    assert here.succeed("lock", "--check", *ARCHIVE)["changed"] is False


@needs_archives
def test_the_command_that_is_named_installs_what_was_upgraded(here: Fabric, sites: HubServer) -> None:
    here.succeed("lock", *ARCHIVE)
    publish(sites, FIXED)
    said = here("lock", "--upgrade", "--port", "0").stdout
    named = re.search(r"`fabric (up .*)` installs what it holds now", " ".join(said.split()))
    assert named, said
    assert here.succeed(*shlex.split(named[1]), "--locked", "--no-smoke")["engine_version"] == FIXED
    assert "--port 0" in named[1], "how it is served is said as well"


def test_a_spec_is_asked_for_and_not_what_the_lock_was_made_for(quick: Fabric) -> None:
    quick.succeed("lock", *WISH)
    before = lock_of(quick).read_bytes()
    lock_of(quick).with_name("fabric.yaml").write_text("model: auto\n", encoding="utf-8")
    assert quick("lock", "--upgrade", "--check").returncode == 65, "made for another wish"
    assert lock_of(quick).read_bytes() == before


def test_what_cannot_be_read_says_nothing_of_what_was_wished_for(quick: Fabric) -> None:
    quick.succeed("lock", *WISH)
    lock_of(quick).write_text("<<<<<<< ours\n", encoding="utf-8")
    outcome = quick("lock", "--upgrade")
    assert outcome.returncode == 65, outcome.said
    assert lock_of(quick).read_text(encoding="utf-8") == "<<<<<<< ours\n"


def test_words_in_a_lock_that_are_no_wish_are_refused(quick: Fabric) -> None:
    quick.succeed("lock", *WISH)
    text = lock_of(quick).read_text(encoding="utf-8")
    for words in ('"--home", "/"', '"--context", "many"', '"--model"', '"--port", "80"'):
        lock_of(quick).write_text(
            re.sub(r"^wish = \[.*?\]", f"wish = [{words}]", text, flags=re.MULTILINE | re.DOTALL), encoding="utf-8"
        )
        outcome = quick("lock", "--upgrade")
        assert outcome.returncode == 65, outcome.said
        assert "what is no wish" in outcome.said


def test_without_a_lock_an_upgrade_makes_one_and_a_check_of_it_refuses(quick: Fabric) -> None:
    outcome = quick("lock", *WISH, "--upgrade", "--check")
    assert outcome.returncode == 65, outcome.said
    assert not lock_of(quick).exists()
    assert quick.succeed("lock", *WISH, "--upgrade")["written"] is True
    assert quick("lock", "--context", "512", "--upgrade", "--check").returncode == 65, "made for another wish"
