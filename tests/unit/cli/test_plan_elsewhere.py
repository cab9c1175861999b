"""``fabric plan`` for machines that are not this one: one, and a fleet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest
from typer.testing import CliRunner, Result

from provision.cli.main import app
from provision.domain.facts import Cpu, Disk, Facts, Libc, Memory, OperatingSystem
from provision.domain.gpu import Gpu, GpuMemory, GpuState
from provision.errors import FabricError

GIB = 1 << 30
LAPTOP = Facts(
    os=OperatingSystem(system="Linux", distribution="debian", version="12", arch="x86_64", libc=Libc("glibc", "2.36")),
    cpu=Cpu(cores_usable=4, isa=("avx2", "bmi2", "f16c", "fma")),
    memory=Memory(16 * GIB, 12 * GIB),
    disk=Disk("/", 100 * GIB),
)
CARD = Gpu(
    vendor="nvidia",
    name="NVIDIA GeForce RTX 4090",
    pci="0000:01:00.0",
    arch="8.9",
    integrated=False,
    state=GpuState.USABLE,
    apis=("cuda",),
    memory=GpuMemory("dedicated", 24 * GIB, 23 * GIB),
    driver="570.133.07",
)
Write: TypeAlias = Callable[[str, Facts], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    (tmp_path / "fleet").mkdir()

    def write(name: str, facts: Facts) -> Path:
        path = tmp_path / "fleet" / f"{name}.json"
        path.write_text(json.dumps({"schema": "fabric.facts/v1", **msgspec.to_builtins(facts)}), encoding="utf-8")
        return path

    return write


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., Result]:
    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["plan", "--home", str(tmp_path / "home"), *map(str, arguments)])

    return run


def test_one_machine_gives_an_ordinary_plan(write: Write, plan: Callable[..., Result]) -> None:
    done = plan("--facts", write("laptop", LAPTOP), "--json")
    document: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == 0
    assert document["backend"] == "llamacpp"
    assert document["summary"]["create"] == 4
    assert document["recommendation"]["backend"] == "llamacpp"
    assert document["recommendation"]["installable"] is True
    assert {"profile", "backend", "acceleration", "reason", "distance"} == set(document["alternatives"][0])


def test_pending_changes_have_their_exit_code(write: Write, plan: Callable[..., Result]) -> None:
    assert plan("--facts", write("laptop", LAPTOP), "--detailed-exitcode").exit_code == 2


def test_a_fleet_is_one_table(write: Write, plan: Callable[..., Result], tmp_path: Path) -> None:
    write("laptop", LAPTOP)
    write("station", msgspec.convert({**msgspec.to_builtins(LAPTOP), "gpus": [msgspec.to_builtins(CARD)]}, Facts))
    done = plan("--facts", tmp_path / "fleet")
    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert lines[0].split()[:2] == ["machine", "system"]
    assert "laptop" in lines[1]
    assert "llamacpp on cpu" in lines[1]
    assert "station" in lines[2]
    assert "NVIDIA GeForce RTX 4090" in lines[2]
    assert lines[2].count("ollama on cuda") == 2, "what suits best, and what is installed"


def test_a_machine_that_cannot_be_served_is_told_and_the_others_are_planned(
    write: Write, plan: Callable[..., Result], tmp_path: Path
) -> None:
    write("laptop", LAPTOP)
    write("router", Facts(os=OperatingSystem(system="Linux", arch="mips", libc=Libc("musl"))))
    (tmp_path / "fleet" / "torn.json").write_text('{"os": {', encoding="utf-8")
    done = plan("--facts", tmp_path / "fleet", "--json")
    document: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == 1, "the status of the first that has no plan"
    assert document["summary"] == {"planned": 1, "refused": 2}
    by_name = {host["host"]: host for host in document["hosts"]}
    assert by_name["laptop"]["backend"] == "llamacpp"
    assert "no build for Linux mips" in by_name["router"]["error"]["message"]
    assert by_name["torn"]["error"]["code"] == "invalid-input"


def test_json_lines_are_one_document_a_machine(write: Write, plan: Callable[..., Result]) -> None:
    one, other = write("one", LAPTOP), write("other", LAPTOP)
    done = plan("--facts", one, "--facts", other, "--json-lines")
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    assert [document["host"] for document in documents] == ["one", "other"]
    assert {document["schema"] for document in documents} == {"fabric.plan/v1"}


def test_a_capture_is_planned_for(plan: Callable[..., Result]) -> None:
    capture = Path(__file__).parents[2] / "hosts" / "linux-debian12-epyc"
    for option in ("--replay", "--facts"):
        done = plan(option, capture, "--json")
        assert json.loads(done.stdout)["backend"] == "llamacpp"


def test_a_gpu_that_stays_unused_is_said(write: Write, plan: Callable[..., Result]) -> None:
    station = msgspec.convert({**msgspec.to_builtins(LAPTOP), "gpus": [msgspec.to_builtins(CARD)]}, Facts)
    path = write("station", station)
    document = json.loads(plan("--facts", path, "--source", "wheel", "--json").stdout)
    assert "NVIDIA GeForce RTX 4090 at 0000:01:00.0 stays unused" in document["unused_gpus"]
    assert "stays unused" in plan("--facts", path, "--source", "wheel").stdout
    for used in (write("laptop", LAPTOP), path):
        assert json.loads(plan("--facts", used, "--json").stdout)["unused_gpus"] is None


def test_what_up_will_refuse_is_said_by_plan(write: Write, plan: Callable[..., Result]) -> None:
    full = msgspec.convert({**msgspec.to_builtins(LAPTOP), "disk": {"path": "/", "free_bytes": 1 << 20}}, Facts)
    done = plan("--facts", write("full", full), "--model", "smollm2-135m")
    assert "DISK-LOW" in done.stdout
    assert "1 MiB are free" in done.stdout


def test_pending_changes_of_a_fleet_have_their_exit_code(write: Write, plan: Callable[..., Result]) -> None:
    one, other = write("one", LAPTOP), write("other", LAPTOP)
    for arguments in (("--json",), ("--json-lines",), ()):
        assert plan("--facts", one, "--facts", other, "--detailed-exitcode", *arguments).exit_code == 2


def test_other_people_s_control_characters_are_not_obeyed(write: Write, plan: Callable[..., Result]) -> None:
    system = OperatingSystem(system="Linux", distribution="\x1b[31mred\nnext", version="x" * 10_000)
    path = write("odd", Facts(os=system))
    shown = plan("--facts", path, "--facts", write("laptop", LAPTOP)).stdout
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines()[:3])) < 1000


@pytest.mark.parametrize(
    "arguments", [("--json-lines", "--json"), ("--json-lines",), ("--facts", "x.json", "--out", "plan.json")]
)
def test_options_that_make_no_sense_together_are_refused(
    plan: Callable[..., Result], arguments: tuple[str, ...]
) -> None:
    error = plan(*arguments).exception
    assert isinstance(error, FabricError)
    assert error.exit_code == 64


def test_a_named_model_is_judged_on_every_machine(write: Write, plan: Callable[..., Result], tmp_path: Path) -> None:
    write("laptop", LAPTOP)
    done = plan("--facts", tmp_path / "fleet", "--model", "qwen3.5-4b", "--json")
    host = json.loads(done.stdout)["hosts"][0]
    assert host["recommendation"]["model"]["name"] == "qwen3.5-4b"
    assert host["recommendation"]["fit"]["verdict"] == "comfortable"
    assert host["model"]["name"] == "qwen3.5-4b"
    assert host["why_not"]
