"""What goes wrong around Ollama: it is named, nothing half is kept, and what was damaged is repaired."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.conftest import RUNNER
from tests.e2e.test_life import by_resource
from tests.standin.command import Fabric, free_port
from tests.standin.engine import StandIn
from tests.standin.index_server import IndexServer
from tests.standin.ollama_archive import ARCHIVE, lay_out
from tests.standin.ollama_site import REPOSITORY, OllamaSite, serving_site, without_libraries, write_assets
from tests.unit.artifacts.gguf_file import KEYS, gguf, number, tensor
from tests.unit.engines.conftest import tiny_gguf

UP = ("up", "--backend", "ollama", "--port", "0", "--no-smoke")
TINY = (*UP, "--model", "ollama:tiny:1b")


@pytest.fixture
def site(tmp_path: Path, standin: StandIn) -> Iterator[OllamaSite]:
    """The release and a model of a few kilobytes; each test may spoil them. Llama.cpp is its stand-in."""
    with serving_site(tmp_path / "site", data_files=standin.assets) as site:
        site.hub.add_ollama("library/tiny:1b", [("model", tiny_gguf()), ("template", b"{{ .Prompt }}")])
        yield site


@pytest.fixture
def ollama(prefix: Path, home: Path, standin_index: IndexServer, site: OllamaSite) -> Iterator[Fabric]:
    """The command; what runs the model is scripted."""
    command = Fabric(prefix, home, standin_index.index_url, (sys.executable, str(RUNNER)), site.variables)
    yield command
    command.cleanup()


def kept(prefix: Path) -> list[str]:
    """What is in the store."""
    return [path.name for place in ("engines", "models") for path in (prefix / place).glob("*")]


def refused(ollama: Fabric, *arguments: str) -> Any:
    outcome = ollama(*arguments, "--json")
    assert outcome.returncode != 0, outcome.said
    return {**outcome.json["error"], "exit": outcome.returncode}


@pytest.mark.fault("byte-flipped")
def test_an_archive_of_other_bytes_than_its_sums_say_is_refused_with_both_hashes(
    ollama: Fabric, site: OllamaSite
) -> None:
    site.release(sums=f"{'0' * 64}  ./{ARCHIVE}\n", has_digests=False)
    error = refused(ollama, *TINY)
    assert error["exit"] == 77
    assert hashlib.sha256(site.archive).hexdigest() in error["message"]
    assert "0" * 64 in error["message"]
    assert [name for name in kept(ollama.prefix) if name.startswith("ollama")] == []


def test_sums_that_contradict_the_releases_own_are_refused_before_anything_is_fetched(
    ollama: Fabric, site: OllamaSite
) -> None:
    site.release(sums=f"{'0' * 64}  ./{ARCHIVE}\n")
    error = refused(ollama, *TINY)
    assert error["exit"] == 77
    assert hashlib.sha256(site.archive).hexdigest() in error["message"]
    assert "0" * 64 in error["message"]
    assert site.hub.requests(f"/{REPOSITORY}/releases/download/v0.32.15/{ARCHIVE}") == []
    assert kept(ollama.prefix) == []


def test_a_disk_that_is_too_small_is_told_before_the_first_byte(ollama: Fabric, site: OllamaSite) -> None:
    write_assets(site.assets, installed_bytes=1 << 50)
    error = refused(ollama, *TINY)
    assert error["exit"] == 73
    assert "Not enough space" in error["message"]
    assert site.hub.requests(f"/{REPOSITORY}/releases/download/v0.32.15/{ARCHIVE}") == []


def test_a_program_without_its_libraries_is_no_ollama(ollama: Fabric, site: OllamaSite, tmp_path: Path) -> None:
    site.release(without_libraries(site.archive, tmp_path))
    error = refused(ollama, *TINY)
    assert "not whole" in error["message"]
    assert "llama-server" in error["message"]
    assert error["hint"]
    assert [name for name in kept(ollama.prefix) if name.startswith("ollama")] == []


def test_a_model_that_cannot_be_loaded_is_told_when_it_is_asked_first_and_from_then_on(
    ollama: Fabric, site: OllamaSite
) -> None:
    site.hub.add_ollama("library/odd:1b", [("model", tiny_gguf().replace(b"llama", b"llamb"))])
    error = refused(ollama, *UP, "--model", "ollama:odd:1b")
    assert "does not know the architecture" in error["message"]
    assert error["hint"] == "choose another model"
    status = ollama.succeed("status")
    assert status["state"] == "degraded"
    assert "does not know the architecture" in status["detail"]
    assert [change["action"] for change in status["drift"]] == ["restart"]
    again = refused(ollama, *UP, "--model", "ollama:odd:1b")
    assert again["message"].startswith(error["message"].splitlines()[0])
    assert ollama.succeed(*TINY)["model"] == "tiny-1b"
    assert ollama.succeed("status")["state"] == "ready"


@pytest.mark.fault("server-dies")
def test_a_program_whose_runner_is_gone_at_the_first_request_is_told(ollama: Fabric, tmp_path: Path) -> None:
    """Such as one of the user's, which we do not watch."""
    program = lay_out(tmp_path / "opt")
    ollama.succeed(*TINY, "--program", str(program))
    runner = tmp_path / "opt" / "lib" / "ollama" / "llama-server"
    runner.rename(runner.with_name("elsewhere"))
    ollama.succeed("down")
    error = refused(ollama, *TINY, "--program", str(program))
    assert "lib/ollama is missing" in error["message"]


@pytest.mark.parametrize("what", ["ollama:absent:1b", "ollama:tiny:absent"])
def test_what_the_registry_does_not_have_is_named(ollama: Fabric, what: str) -> None:
    error = refused(ollama, *UP, "--model", what)
    assert error["exit"] == 65
    assert "registry has no" in error["message"]


def test_a_layer_that_is_gone_is_told_and_says_nothing_of_the_engine(ollama: Fabric, site: OllamaSite) -> None:
    manifest = site.hub.add_ollama("library/tiny:1b", [("model", tiny_gguf()), ("template", b"gone")])
    digest = manifest["layers"][1]["digest"]
    del site.hub.blobs[digest.removeprefix("sha256:")]
    error = refused(ollama, *TINY)
    assert error["exit"] == 69
    assert digest in error["message"]
    site.hub.blobs[digest.removeprefix("sha256:")] = b"gone"
    assert ollama.succeed(*TINY)["backend"] == "ollama"


def retag(site: OllamaSite) -> str:
    """Let the tag name another model, and return the digest that it had."""
    path = "/v2/library/tiny/manifests/1b"
    before = hashlib.sha256(site.hub.manifests[path]).hexdigest()
    site.hub.add_ollama("library/tiny:1b", [("model", tiny_gguf(name="other")), ("template", b"{{ .Prompt }}")])
    return before


@pytest.mark.fault("retagged")
def test_a_tag_that_moved_since_the_plan_is_refused_where_what_was_planned_is_gone(
    ollama: Fabric, site: OllamaSite, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    ollama.succeed("plan", *TINY[1:-3], *TINY[-2:], "--out", str(plan))
    digest = retag(site)
    error = refused(ollama, "apply", "--no-smoke", str(plan))
    assert error["exit"] == 77
    assert digest in error["message"]
    assert ollama.succeed("status")["state"] in ("absent", "stopped")


@pytest.mark.fault("retagged")
def test_a_tag_that_moved_since_the_plan_changes_nothing_where_the_registry_still_has_what_was_planned(
    ollama: Fabric, site: OllamaSite, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    manifest = site.hub.manifests["/v2/library/tiny/manifests/1b"]
    ollama.succeed("plan", *TINY[1:-3], *TINY[-2:], "--out", str(plan))
    digest = retag(site)
    site.hub.manifests[f"/v2/library/tiny/manifests/sha256:{digest}"] = manifest
    assert ollama.succeed("apply", "--no-smoke", str(plan))["changed"] is True
    served = ollama.prefix / "var/ollama/models/manifests/registry.ollama.ai/library/tiny-1b/latest"
    assert served.read_bytes() == manifest


def model_blob(prefix: Path) -> Path:
    return next(path for path in (prefix / "var/ollama/models/blobs").iterdir() if path.read_bytes()[:4] == b"GGUF")


def unlink_blob(prefix: Path) -> None:
    model_blob(prefix).unlink()


def unlink_manifest(prefix: Path) -> None:
    (prefix / "var/ollama/models/manifests/registry.ollama.ai/library/tiny-1b/latest").unlink()


def spoil_blob(prefix: Path) -> None:
    path = model_blob(prefix)
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.write(b"spoilt")


def spoil_store(prefix: Path) -> None:
    path = next(path for path in (prefix / "models").rglob("blobs/*") if path.read_bytes()[:4] == b"GGUF")
    path.chmod(0o600)
    path.write_bytes(b"spoilt")


@pytest.mark.parametrize("damage", [unlink_blob, unlink_manifest, spoil_blob, spoil_store])
def test_damage_to_what_ollama_has_is_drift_that_up_repairs(ollama: Fabric, damage: Callable[[Path], None]) -> None:
    first = ollama.succeed(*TINY)
    damage(ollama.prefix)
    status = ollama.succeed("status")
    assert status["drift"] != []
    second = ollama.succeed(*TINY)
    assert second["changed"] is True
    assert second["pid"] != first["pid"]
    assert model_blob(ollama.prefix).read_bytes() == tiny_gguf()
    assert ollama.succeed("status")["drift"] == []
    assert ollama.succeed(*TINY)["pid"] == second["pid"]


def test_a_users_file_that_changes_is_served_anew(ollama: Fabric, tmp_path: Path) -> None:
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(tiny_gguf())
    first = ollama.succeed(*UP, "--model", f"file:{mine}")
    mine.write_bytes(tiny_gguf(name="tony"))
    os.utime(mine, ns=(1, 1))
    assert ollama.succeed("status")["drift"] != []
    second = ollama.succeed(*UP, "--model", f"file:{mine}")
    assert by_resource(second)["server/mine"] == "restart"
    assert second["pid"] != first["pid"]
    assert model_blob(ollama.prefix).read_bytes() == mine.read_bytes() == tiny_gguf(name="tony")


def test_a_users_file_on_another_file_system_is_copied(ollama: Fabric, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        mine = Path(elsewhere, "mine.gguf")
        mine.write_bytes(tiny_gguf())
        if mine.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("shared memory is no other file system here")
        up = ollama.succeed(*UP, "--model", f"file:{mine}")
        blob = model_blob(ollama.prefix)
        assert blob.read_bytes() == mine.read_bytes()
        assert not blob.samefile(mine)
        assert ollama.succeed(*UP, "--model", f"file:{mine}")["pid"] == up["pid"]
        assert ollama.succeed("status")["drift"] == []


def test_a_model_in_several_files_is_refused_with_the_reason(ollama: Fabric, tmp_path: Path) -> None:
    keys = [*KEYS, number("split.count", 2)]
    for part in (1, 2):
        data = gguf([*keys, number("split.no", part - 1)], [tensor("blk.0.attn_q.weight", [32, 32], 0, 0)])
        (tmp_path / f"big-0000{part}-of-00002.gguf").write_bytes(data)
    error = refused(ollama, *UP, "--model", f"file:{tmp_path / 'big-00001-of-00002.gguf'}")
    assert "split into several" in error["message"]


def test_it_is_never_started_where_a_key_is_wanted(ollama: Fabric) -> None:
    outcome = ollama(*TINY, "--api-key-env", "THE_KEY", "--host", "0.0.0.0", "--json", env={"THE_KEY": "k" * 32})  # noqa: S104
    assert outcome.returncode != 0
    assert "API key" in outcome.json["error"]["message"]
    assert ollama.processes() == []


@pytest.mark.fault("port-taken")
def test_a_busy_port_is_named_with_what_can_be_done(ollama: Fabric) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port()))
        other.listen()
        port = str(other.getsockname()[1])
        error = refused(ollama, *TINY, "--port", port)
        assert port in error["message"]


def test_a_second_model_replaces_the_first_and_the_first_stays_in_the_store(ollama: Fabric, site: OllamaSite) -> None:
    site.hub.add_ollama("me/Other.Model:v1", [("model", tiny_gguf(name="other"))])
    first = ollama.succeed(*TINY)
    second = ollama.succeed(*UP, "--model", "ollama:me/Other.Model:v1")
    assert (second["model"], second["pid"] == first["pid"]) == ("Other.Model-v1", False)
    assert model_blob(ollama.prefix).read_bytes() == tiny_gguf(name="other")
    assert json.loads(ollama.succeed("config", "json")["text"])["model"] == "Other.Model-v1"
    assert psutil.pid_exists(second["pid"])
    back = ollama.succeed(*TINY)
    assert by_resource(back)["model/tiny-1b"] == "none"
