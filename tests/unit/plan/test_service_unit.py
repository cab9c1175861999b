"""The files for service managers, read by those who know the format best."""

from __future__ import annotations

import plistlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from provision import assets
from provision.domain.spec import BUILTIN, LAUNCHD, SYSTEMD
from provision.errors import UsageError
from provision.plan.service_unit import Unit, supervisor_argv, unit_for

HARD = """/srv/50 %h of $HOME, "so" 'called' \\ ünd $$ %% \\"""
PREFIXES = ["/home/me/.local/share/fabric", HARD, "/srv/-x"]
ENV = {"HOME": "/home/me"}


def unit(service: str, prefix: str, env: dict[str, str] | None = None) -> Unit:
    made = unit_for(service, Path(prefix), Path(prefix, "logs", "supervisor.log"), env or ENV)
    assert made is not None
    return made


@pytest.mark.parametrize("prefix", PREFIXES)
def test_systemd_has_nothing_against_the_unit(prefix: str, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here (Debian: systemd)")
    made = unit(SYSTEMD, prefix)
    file = tmp_path / made.name
    file.write_text(made.text, encoding="utf-8")
    argv = ["systemd-analyze", "verify", "--user", "--recursive-errors=no", str(file)]
    env = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_would_have_something_against_a_bad_one(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here (Debian: systemd)")
    file = tmp_path / "bad.service"
    file.write_text(unit(SYSTEMD, "/p").text.replace(sys.executable, "/no/python"), encoding="utf-8")
    env = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    argv = ["systemd-analyze", "verify", "--user", str(file)]
    assert subprocess.run(argv, env=env, capture_output=True, check=False, timeout=60).returncode != 0


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_plist_says_the_same_to_every_reader(prefix: str) -> None:
    made = unit(LAUNCHD, prefix)
    said = plistlib.loads(made.text.encode())
    assert said["ProgramArguments"] == list(supervisor_argv(Path(prefix)))
    assert said["StandardOutPath"] == f"{prefix}/logs/supervisor.log"
    assert made.path == Path("/home/me/Library/LaunchAgents", f"{said['Label']}.plist")
    assert said["KeepAlive"] == {"SuccessfulExit": False}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_plist_tool_reads_the_plist(prefix: str, tmp_path: Path) -> None:
    tool = shutil.which("plistutil")
    if tool is None:
        pytest.skip("plistutil is not here (Debian: libplist-utils)")
    made = unit(LAUNCHD, prefix)
    file, binary = tmp_path / "in.plist", tmp_path / "out.plist"
    file.write_text(made.text, encoding="utf-8")
    subprocess.run([tool, "-i", file, "-o", binary, "-f", "bin"], check=True, capture_output=True, timeout=60)
    assert binary.read_bytes().startswith(b"bplist")
    assert plistlib.loads(binary.read_bytes()) == plistlib.loads(made.text.encode())


def test_two_prefixes_have_two_services_and_one_has_the_same_again() -> None:
    assert unit(SYSTEMD, "/a").name != unit(SYSTEMD, "/b").name
    assert unit(SYSTEMD, "/a") == unit(SYSTEMD, "/a", {**ENV, "PATH": "/other", "CUDA_VISIBLE_DEVICES": "1"})


def test_it_lies_where_the_manager_looks() -> None:
    assert unit(SYSTEMD, "/a").path.parent == Path("/home/me/.config/systemd/user")
    elsewhere = unit(SYSTEMD, "/a", {**ENV, "XDG_CONFIG_HOME": "/etc/me"})
    assert elsewhere.path.parent == Path("/etc/me/systemd/user")


@pytest.mark.parametrize("prefix", ["/line\nbreak", "/tab\there", "/\x7f", "/not\udcff utf-8"])
@pytest.mark.parametrize("service", [SYSTEMD, LAUNCHD])
def test_a_path_that_cannot_stand_in_such_a_file_is_refused(service: str, prefix: str) -> None:
    with pytest.raises(UsageError, match="control characters") as refused:
        unit(service, prefix)
    assert "--home" in (refused.value.hint or "")


@pytest.mark.parametrize("env", [{}, {"HOME": "here"}])
def test_without_a_home_there_is_no_place(env: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="HOME"):
        unit_for(SYSTEMD, Path("/p"), Path("/p/log"), env)


def test_builtin_needs_no_file() -> None:
    assert unit_for(BUILTIN, Path("/p\n"), Path("/p/log"), {}) is None


def test_it_is_no_format_for_clients() -> None:
    assert "systemd.service" not in assets.templates()
    assert not [name for name in assets.templates() if "service" in name]
