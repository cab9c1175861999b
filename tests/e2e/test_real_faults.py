"""Faults that need the real engine: its own words about a bad model, a key, an old processor."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from provision.apply.install import Installer
from provision.apply.preflight import EngineUnfitError
from provision.domain.engine import EngineRelease, Launch, Trial
from provision.engines.llamacpp import LlamaCpp
from provision.facts.detect import detect
from provision.host.endpoint import EndpointClient
from provision.host.layout import Layout
from provision.host.machine import LocalMachine
from provision.planner import Planner
from tests.e2e.conftest import WHEEL_WISH, Served
from tests.standin.command import Fabric, eventually

pytestmark = pytest.mark.engine
OLD_PROCESSOR = "Nehalem"


class Quiet:
    def say(self, text: str) -> None:
        pass

    def transfer(self, name: str, total_bytes: int) -> object:
        return lambda _: None


class OnAnOldProcessor(LlamaCpp):
    """llama.cpp whose interpreter runs on an emulated processor from before AVX."""

    def preflight(self, release: EngineRelease, engine: Path, generation: Path) -> list[Trial]:
        real = super().preflight(release, engine, generation)[0].launch
        python = str(Path(real.argv[0]).resolve())
        site = next((engine / "lib").glob("python*/site-packages"))
        program = f"import sys; sys.path.insert(0, {str(site)!r}); import xllamacpp; xllamacpp.get_system_info()"
        argv = ("qemu-x86_64", "-cpu", OLD_PROCESSOR, python, "-I", "-B", "-c", program)
        return [Trial(Launch(argv, real.env, real.files))]


@pytest.fixture
def engine(served: Served) -> Path:
    return next((served.prefix / "engines").iterdir())


def installer(served: Served, prefix: Path, engine: LlamaCpp) -> Installer:
    layout = Layout(prefix)
    layout.staging.mkdir(parents=True)
    facts = detect(LocalMachine(), str(served.prefix))
    selection = Planner(Layout(served.prefix), os.environ).plan(replace(WHEEL_WISH, port=0), None, facts).selection
    return Installer(layout, selection, engine, os.environ, Quiet(), threading.Event())  # type: ignore[arg-type]


def test_on_this_processor_the_engine_proves_that_it_starts(served: Served, engine: Path, tmp_path: Path) -> None:
    installer(served, tmp_path / "p", LlamaCpp())._preflight(engine)


@pytest.mark.fault("engine-does-not-run")
@pytest.mark.timeout(120)
def test_on_an_old_processor_the_illegal_instruction_becomes_a_sentence(
    served: Served, engine: Path, tmp_path: Path
) -> None:
    qemu = shutil.which("qemu-x86_64")
    if not qemu:
        pytest.skip("needs qemu-x86_64 (Debian: qemu-user), to be an old processor")
    probe = subprocess.run([qemu, "-cpu", OLD_PROCESSOR, "/bin/true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"this system itself does not run on a {OLD_PROCESSOR}: {probe.stderr.decode()[-200:]}")
    with pytest.raises(EngineUnfitError, match="illegal instruction"):
        installer(served, tmp_path / "p", OnAnOldProcessor())._preflight(engine)


@pytest.mark.fault("hostile-model")
def test_a_truncated_model_file_is_refused_before_anything_starts(
    served: Served, fabric: Fabric, tmp_path: Path
) -> None:
    whole = next((served.prefix / "models").iterdir())
    cut = tmp_path / "gekürzt.gguf"
    with whole.open("rb") as file:
        cut.write_bytes(file.read(5_000_000))
    outcome = fabric("up", "--json", "--model", f"file:{cut}")
    assert outcome.returncode == 65, outcome.said
    assert "cut short" in outcome.json["error"]["message"]
    assert not (fabric.prefix / "engines").exists()


def test_a_model_file_of_the_users_is_served_where_it_lies_and_stays(
    served: Served, fabric: Fabric, tmp_path: Path
) -> None:
    own = tmp_path / "mein Modell.gguf"
    shutil.copy(next((served.prefix / "models").iterdir()), own)
    up = fabric.succeed("up", "--model", f"file:{own}")
    assert up["model"] == "mein-Modell", "a name that every engine takes"
    assert not (fabric.prefix / "models").exists()
    assert fabric.succeed("up", "--model", f"file:{own}")["changed"] is False
    assert fabric.succeed("status")["drift"] == []
    fabric.succeed("destroy", "--yes")
    assert own.exists()


@pytest.mark.fault("server-dies")
def test_the_engines_own_words_about_a_bad_model_are_decoded(fabric: Fabric) -> None:
    fabric.succeed("up", "--no-smoke")
    fabric.succeed("down")
    model = next((fabric.prefix / "models").iterdir())
    before = model.stat()
    model.chmod(0o600)
    with model.open("r+b") as file:
        file.write(b"XXXX")
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    failed = fabric("up", "--no-smoke", "--json")
    assert failed.returncode == 1, failed.said
    assert "cannot be loaded" in failed.json["error"]["message"]
    status = fabric.succeed("status")
    assert status["state"] in ("failed", "crash-loop")
    assert "cannot be loaded" in status["detail"]


@pytest.mark.fault("server-dies")
def test_the_real_server_killed_by_hand_comes_back(fabric: Fabric) -> None:
    up = fabric.succeed("up", "--no-smoke")
    os.kill(up["pid"], signal.SIGKILL)
    assert fabric.succeed("status")["state"] != "ready"
    again = fabric.succeed("up")
    assert again["pid"] != up["pid"]
    assert again["smoke"]["ok"] is True
    assert len(fabric.processes()) == 2


KEY = "k-4f8e1d2c9b7a"  # a test's own


def status_of(base_url: str, path: str, key: str | None) -> int:
    client = EndpointClient(base_url, key)
    return (client.get(path) if path == "/v1/models" else client.post(path, {})).status


@pytest.mark.fault("secrets")
def test_with_a_key_only_who_has_it_is_answered_and_it_is_written_nowhere_else(fabric: Fabric) -> None:
    env = {"MY_KEY": KEY}
    up = fabric.succeed("up", "--api-key-env", "MY_KEY", env=env)
    assert up["smoke"]["ok"] is True
    chat = "/v1/chat/completions"
    assert status_of(up["base_url"], "/v1/models", KEY) == 200
    assert status_of(up["base_url"], chat, None) == 401
    assert status_of(up["base_url"], chat, "wrong") == 401

    stored = fabric.prefix / "secrets" / "api-key"
    assert stored.stat().st_mode & 0o777 == 0o600
    holding = [path for path in fabric.prefix.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert holding == [stored]
    for process in fabric.processes():
        assert KEY not in " ".join(process.cmdline())
        assert KEY not in str(process.environ())
    assert fabric.succeed("config")["api_key"] == KEY
    assert fabric.succeed("up", "--api-key-env", "MY_KEY")["changed"] is False, "the stored key counts"

    other = fabric.succeed("plan", "--api-key-env", "MY_KEY", env={"MY_KEY": "k-another"})
    assert {c["resource"]: c["action"] for c in other["changes"]}["config/llamacpp"] == "update"


def test_with_a_key_it_may_listen_everywhere(fabric: Fabric) -> None:
    words = ("--host", "0.0.0.0", "--api-key-env", "MY_KEY")  # noqa: S104 - with a key
    up = fabric.succeed("up", *words, env={"MY_KEY": KEY})
    assert up["base_url"].startswith("http://127.0.0.1:")
    listening = [c.laddr.ip for c in psutil.Process(up["pid"]).net_connections("tcp") if c.status == "LISTEN"]
    assert listening == ["0.0.0.0"]  # noqa: S104


@pytest.mark.fault("supervisor-killed")
def test_a_killed_supervisor_takes_the_real_server_with_it(fabric: Fabric) -> None:
    up = fabric.succeed("up", "--no-smoke")
    psutil.Process(up["pid"]).parent().kill()  # type: ignore[union-attr]
    assert eventually(lambda: not psutil.pid_exists(up["pid"]), timeout_s=10)
    assert fabric.succeed("status")["state"] == "failed"
    assert fabric.succeed("up", "--no-smoke")["changed"] is True
