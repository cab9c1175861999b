from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from provision.cli.doctor import show_findings
from provision.domain.facts import Facts
from provision.domain.finding import Finding, Severity
from tests.standin.command import Fabric
from tests.unit.cli.conftest import HOSTS
from tests.unit.cli.test_facts_verb import CANNOT_CREATE, INVALID, USAGE, limited, refused

KEY = "sk-Tr0ub4dor-and-3-more"
LOG = [
    "launcher: listening on 127.0.0.1:8080",
    f"authorized with {KEY}",
    "client 10.20.30.40 asked",
    "loading /home/alicex/models/a.gguf",
    *(f"line {number}" for number in range(300)),
    f"GET http://alicex:pw@pelican7.acme.example/?token=abcdef {KEY}",
]


def unpacked(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        files = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        return {name: file.read().decode() for name, file in files.items() if file}


def prefix_with(fabric: Fabric, state: str) -> None:
    """Make what a server leaves behind."""
    for name in ("", "run", "logs", "secrets"):
        (fabric.prefix / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    (fabric.prefix / "state.json").write_text(state)
    (fabric.prefix / "run" / "server.json").write_text('{"note": "/home/alicex/x"}')
    (fabric.prefix / "logs" / "server.log").write_text("\n".join(LOG))
    (fabric.prefix / "secrets" / "api-key").write_text(KEY)


def test_a_bundle_holds_what_a_bug_report_needs_and_no_secret(fabric: Fabric) -> None:
    prefix_with(fabric, '{"lineage": "5f0c", "findings": [], "written_files": ["/home/alicex/out.env"]}')
    env = {"USER": "alicex", "https_proxy": "http://alicex:hunter22@pelican7.acme.example:3128"}
    document = fabric.succeed("doctor", "--bundle", "b.tar.gz", env=env)
    path = fabric.home / "b.tar.gz"
    assert path.stat().st_mode & 0o777 == 0o600
    assert document["bundle"]["path"] == str(path)
    assert document["bundle"]["size_bytes"] == path.stat().st_size
    files = unpacked(path)
    assert sorted(files) == document["bundle"]["files"]
    own = {
        "capture/platform.json",
        "capture/env.json",
        "capture/commands.json",
        "facts.json",
        "doctor.json",
        "fabric.json",
    }
    assert files.keys() >= own | {"server/state.json", "server/runtime.json", "server/server.log"}
    msgspec.json.decode(files["facts.json"], type=Facts)
    assert json.loads(files["facts.json"])["schema"] == "fabric.facts/v1"
    assert json.loads(files["doctor.json"])["recommendation"].keys() == document["recommendation"].keys()
    assert json.loads(files["fabric.json"])["fabric"]
    assert json.loads(files["server/state.json"])["written_files"] == ["/home/user/out.env"]
    assert files["server/server.log"].splitlines()[0] == "line 101", "the last 200 lines"
    everything = "\n".join([*files, *files.values()])
    secrets = ("alicex", "hunter22", "pelican7", "acme.example", KEY, "10.20.30.40", "abcdef ")
    assert [secret for secret in secrets if secret in everything] == []


def test_a_bundle_is_read_as_it_was_received(fabric: Fabric) -> None:
    document = fabric.succeed("doctor", "--bundle", "b.tar.gz")
    replayed = fabric.succeed("doctor", "--replay", "b.tar.gz")
    assert replayed["facts"]["cpu"] == document["facts"]["cpu"]
    assert replayed["facts"]["disk"]["path"] == document["facts"]["disk"]["path"].replace("alicex", "user")
    assert replayed["recommendation"]["backend"] == document["recommendation"]["backend"]
    assert fabric.succeed("facts", "--replay", "b.tar.gz")["cpu"] == document["facts"]["cpu"]


def test_people_are_told_what_is_in_it_and_to_look(fabric: Fabric) -> None:
    run = fabric("doctor", "--bundle", "b.tar.gz")
    assert (run.returncode, run.stderr) == (0, "")
    told = run.stdout[run.stdout.index("Written to") :]
    assert str(fabric.home / "b.tar.gz") in told
    assert "facts.json" in told
    assert "Look at it before you send it" in told
    assert f"tar -tzf {fabric.home / 'b.tar.gz'}" in told


def test_a_damaged_state_is_no_reason_not_to_report_it(fabric: Fabric) -> None:
    prefix_with(fabric, f"<html>{KEY} /home/alicex</html>")
    run = fabric("doctor", "--json", "--bundle", "b.tar.gz")
    assert run.returncode == INVALID
    assert run.json["recommendation"] is None
    assert "state" in run.json["refusal"]["message"]
    assert run.json["facts"]["cpu"]["cores_usable"] >= 1
    assert unpacked(fabric.home / "b.tar.gz")["server/state.json"] == "<html>redacted /home/user</html>"


@pytest.mark.parametrize("host", ["linux-alpine3.22", "darwin-m1-8gb", "linux-ubuntu22.04-i7-3770", "linux-no-proc"])
def test_another_machine_is_explained_without_looking_at_this_one(fabric: Fabric, host: str) -> None:
    prefix_with(fabric, "damaged")
    run = fabric("doctor", "--json", "--replay", str(HOSTS / host))
    expected: Any = json.loads((HOSTS / host / "expected.json").read_text())
    assert sorted({finding["code"] for finding in run.json["findings"]}) == expected["findings"]
    assert run.returncode == (1 if run.json["refusal"] else 0), "not the state of this one"
    assert run.json["schema"] == "fabric.doctor/v1"
    shown = fabric("doctor", "--replay", str(HOSTS / host))
    assert "Traceback" not in shown.said
    assert [code for code in expected["findings"] if code not in shown.stdout] == []


def test_bad_places_and_captures_are_refused(fabric: Fabric) -> None:
    (fabric.home / "mine").write_text("x")
    (fabric.home / "directory").mkdir()
    before = sorted(fabric.home.rglob("*"))
    for place in ("mine", "directory", "no/such", "mine/below", "/sys/fabric.tar.gz"):
        refused(fabric("doctor", "--json", "--bundle", place), CANNOT_CREATE, Path(place).name)
    refused(fabric("doctor", "--json", "--bundle", "new", preexec_fn=limited), CANNOT_CREATE, "No space left")
    refused(fabric("doctor", "--json", "--bundle", "b", "--replay", "c"), USAGE, "--bundle", "--replay")
    refused(fabric("doctor", "--json", "--replay", "mine"), INVALID, "mine", "hold facts")
    refused(fabric("doctor", "--json", "--replay", "directory"), INVALID, "platform.json is missing")
    assert sorted(fabric.home.rglob("*")) == before
    assert (fabric.home / "mine").read_text() == "x"


FINDINGS = (
    Finding("CGROUP-MEM", Severity.INFO, "a limit of 2 GiB", "docker update --memory 8g NAME"),
    Finding("DISK-LOW", Severity.WARNING, "1.0 GiB free", "Make room there."),
    Finding("NV-LIB-MISMATCH", Severity.ERROR, "550 is not 560\033[2J", "sudo rmmod nvidia\nsudo modprobe nvidia"),
    Finding("WSL1", Severity.WARNING, "no GPU", ""),
)


def test_findings_are_shown_worst_first_with_a_fix_that_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    show_findings(FINDINGS)
    assert capsys.readouterr().out.splitlines() == [
        "Findings: 1 error, 2 warnings, 1 info",
        "",
        "error NV-LIB-MISMATCH",
        "  550 is not 560\N{REPLACEMENT CHARACTER}[2J",
        "  To fix it:",
        "    sudo rmmod nvidia",
        "    sudo modprobe nvidia",
        "",
        "warning DISK-LOW",
        "  1.0 GiB free",
        "  To fix it:",
        "    Make room there.",
        "",
        "warning WSL1",
        "  no GPU",
        "",
        "info CGROUP-MEM",
        "  a limit of 2 GiB",
        "  To fix it:",
        "    docker update --memory 8g NAME",
    ]
    show_findings(())
    assert capsys.readouterr().out == "No findings.\n"
