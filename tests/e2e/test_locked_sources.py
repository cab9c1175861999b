"""A lock and its bundle for everything that is no wheel: release archives, models of a hub, a registry and the web."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from provision.domain.lock import Lock
from provision.plan.lock_file import parse_lock
from tests.e2e.no_network import serve_cut_off
from tests.e2e.test_llamacpp_sources import GLIBC, OLDEST_GLIBC
from tests.e2e.test_locks_and_bundles import lock_of, nothing_but_a_refusal, pages, tree
from tests.standin.command import Fabric
from tests.standin.hub_server import Answer, HubServer
from tests.standin.index_server import IndexServer
from tests.standin.llama_release import REPOSITORY, TAG, asset, pack, script
from tests.standin.llama_release import tree as release_tree
from tests.standin.ollama_site import serving_site
from tests.unit.artifacts.gguf_file import KEYS, gguf
from tests.unit.engines.conftest import tiny_gguf

TINY = gguf(KEYS[:8])
SITES = ("GITHUB", "GITHUB_API", "HUGGINGFACE", "OLLAMA_REGISTRY")
WHEEL = ("--backend", "llamacpp", "--source", "wheel")
HUB = (*WHEEL, "--model", "hf:team/tiny:tiny.gguf")
WEB = (*WHEEL, "--model", "{root}/files/tiny.gguf")
ARCHIVE = ("--backend", "llamacpp", "--source", "archive", "--model", "smollm2-135m")
OLD = GLIBC < OLDEST_GLIBC
WAYS = {
    "an engine of a release": pytest.param(ARCHIVE, marks=pytest.mark.skipif(OLD, reason="the releases need more")),
    "a model of the hub": HUB,
    "a model of a registry": (*WHEEL, "--model", "ollama:tiny:1b"),
    "a model of the web": WEB,
}


@pytest.fixture
def sites(releases: HubServer, tmp_path: Path) -> HubServer:
    """All sites in one, with something small of each kind."""
    place = tmp_path / "published"
    place.mkdir()
    (place / "tiny.gguf").write_bytes(TINY)
    releases.add_repository("team/tiny", place, card={"license": "apache-2.0"})
    releases.add_ollama("library/tiny:1b", [("model", TINY), ("template", b"{{ .Prompt }}")])
    releases.add_release(REPOSITORY, TAG, {asset(): pack(release_tree(script()))})
    releases.blobs["tiny"] = TINY
    releases.scripted["/files/tiny.gguf"] = Answer(302, headers={"Location": f"{releases.cdn}/tiny"})
    return releases


@pytest.fixture
def here(quick: Fabric, sites: HubServer) -> Fabric:
    quick.variables |= {f"FABRIC_MIRROR_{name}": sites.root for name in SITES}
    return quick


def locked(fabric: Fabric) -> Lock:
    return parse_lock(lock_of(fabric).read_bytes(), "fabric.lock")


def addresses(lock: Lock) -> set[str]:
    (entry,) = lock.platforms.values()
    return {url for file in (*entry.release.files, *entry.model.files) for url in file.urls}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_it_is_locked_installed_bundled_and_served_without_a_network(
    way: tuple[str, ...], here: Fabric, other: Fabric, sites: HubServer, standin_index: IndexServer
) -> None:
    wish = tuple(word.format(root=sites.root) for word in way)
    goes_all_the_way(here, other, wish, sites, standin_index)


def test_ollama_and_what_it_wants_beside_a_model_go_the_same_way(
    quick: Fabric, other: Fabric, standin_index: IndexServer, tmp_path: Path
) -> None:
    wish = ("--backend", "ollama", "--model", "ollama:tiny:1b")
    with serving_site(tmp_path / "ollama") as site:
        site.hub.add_ollama("library/tiny:1b", [("model", tiny_gguf()), ("template", b"{{ .Prompt }}")])
        quick.variables |= site.variables
        goes_all_the_way(quick, other, wish, site.hub, standin_index)


def goes_all_the_way(
    here: Fabric, other: Fabric, wish: tuple[str, ...], sites: HubServer, standin_index: IndexServer
) -> None:
    """From a lock to the same store on two hosts, of which one asks the sites for files only, the other nobody."""
    here.succeed("lock", *wish)
    assert len(here.succeed("lock", "--check", *wish)["platforms"]) == 1
    assert addresses(locked(here))
    sites.seen.clear()
    standin_index.seen.clear()
    assert here.succeed("up", "--no-smoke", "--port", "0", "--locked", *wish)["changed"] is True
    asked = {each.path for each in sites.seen if each.site == "site"}
    assert asked <= {urlsplit(url).path for url in addresses(locked(here))}, "of the sites nothing but files"
    assert pages(standin_index) == []
    bundle = Path(here.succeed("bundle", "create", "fabric.tar")["path"])
    serve_cut_off(other, bundle, wish)
    assert tree(here.prefix) == tree(other.prefix)


def test_a_lock_names_the_sites_themselves_and_every_mirror_can_stand_in(here: Fabric, other: Fabric) -> None:
    """It is made behind one mirror, and used behind another, that only an option names."""
    root = here.variables["FABRIC_MIRROR_HUGGINGFACE"]
    here.succeed("lock", *HUB)
    (address,) = addresses(locked(here))
    assert re.fullmatch(r"https://huggingface\.co/team/tiny/resolve/[0-9a-f]{40}/tiny\.gguf", address)
    lock_of(other).write_bytes(lock_of(here).read_bytes())
    served = ("--port", "0", "--threads", "1", "--keep-alive", "60", "--host", "localhost")
    mirror = ("--mirror", f"huggingface={root}")
    unnamed = {f"FABRIC_MIRROR_{name}": None for name in SITES}
    up = other.succeed("up", "--no-smoke", "--locked", *HUB, *served, *mirror, env=unnamed)
    assert up["changed"] is True
    assert other.succeed("bundle", "create", "fabric.tar", *mirror, env=unnamed)["files"]
    again = other.succeed("up", "--no-smoke", "--locked", *HUB, *served, env=unnamed)
    assert again["pid"] == up["pid"], "what is there is not asked of its site again"


def test_what_nobody_vouches_for_is_said_to_be_unverified(here: Fabric, sites: HubServer) -> None:
    wish = tuple(word.format(root=sites.root) for word in WEB)
    (told,) = here.succeed("lock", *wish)["platforms"].values()
    assert told["unverified"] == ["tiny.gguf"]
    assert here.succeed("plan", "--locked", *wish)["model"]["verified"] is False
    assert 'hash_source = "first-use"' in lock_of(here).read_text(encoding="utf-8")
    (told,) = here.succeed("lock", *HUB)["platforms"].values()
    assert told["unverified"] == []
    assert here.succeed("plan", "--locked", *HUB)["model"]["verified"] is True


@pytest.mark.skipif(OLD, reason="the releases need more")
def test_an_archive_without_a_digest_is_said_to_be_unverified(here: Fabric, sites: HubServer) -> None:
    sites.releases.clear()
    sites.add_release(REPOSITORY, TAG, {asset(): pack(release_tree(script()))}, has_digests=False)
    outcome = here("lock", *ARCHIVE)
    assert outcome.returncode == 0, outcome.said
    assert f"{asset()} is unverified" in outcome.stdout
    assert f"{asset()} is unverified: nobody has told its SHA-256" in outcome.stderr
    (entry,) = locked(here).platforms.values()
    assert [file.verified for file in entry.release.files] == [False]


def test_a_lock_of_something_that_moves_upstream_needs_its_revision(here: Fabric) -> None:
    here.succeed("lock", *HUB)
    whole = lock_of(here).read_text(encoding="utf-8")
    for spoilt in ("", "revision = []\n"):
        lock_of(here).write_text(re.sub(r'(?m)^revision = ".*"\n', spoilt, whole), encoding="utf-8")
        for arguments in (("lock", "--check"), ("up", "--locked")):
            nothing_but_a_refusal(here, here(*arguments, *HUB), 65, "is not complete", "revision")


def test_an_interpreter_that_no_bundle_holds_is_told_early(here: Fabric, other: Fabric) -> None:
    wish = (*WHEEL, "--model", "smollm2-135m")
    here.succeed("lock", *wish)
    text = lock_of(here).read_text(encoding="utf-8")
    text = text.replace('method = "wheel"', 'method = "packages"').replace("python = []", 'python = "3.7"')
    text = re.sub(r"\[(platforms\..*\.release\.wheel)\]", r"[[\1s]]", text.replace("wheels = []", "wheel = []"))
    lock_of(here).write_text(text, encoding="utf-8")
    made = here("bundle", "create", "fabric.tar")
    assert made.returncode == 0, made.said
    assert "llamacpp needs Python 3.7 on the machine" in made.stderr
    outcome = other("up", "--no-smoke", "--bundle", str(here.home / "fabric.tar"), *wish)
    nothing_but_a_refusal(other, outcome, 69, "There is no Python 3.7 here", "Install Python 3.7")
