"""The server kept by a service manager: the real ``systemd --user`` where this machine lets one run."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.standin import user_manager
from tests.standin.command import Fabric, eventually
from tests.standin.user_manager import UserManager

HARD_NAME = """50 %h of $HOME "so" 'called' \\ ünd $$ %%"""
LOGINCTL = """#!/bin/sh
# What systemd-logind does for `loginctl enable-linger`: it is asked over the system's bus, which is not here.
case "$*" in
  *enable-linger) touch /var/lib/systemd/linger/root ;;
  *disable-linger) rm -f /var/lib/systemd/linger/root ;;
  *) exit 1 ;;
esac
"""

slow = pytest.mark.faults  # the same in less time, with stand-ins: tests/unit/test_keeping.py


@pytest.fixture(scope="module")
def manager_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory, manager_home: Path) -> Iterator[UserManager]:
    reason = user_manager.why_not()
    if reason:
        pytest.skip(reason)
    with user_manager.running(tmp_path_factory.mktemp("manager"), manager_home) as running:
        yield running


@pytest.fixture
def kept(quick: Fabric, manager: UserManager, manager_home: Path, tmp_path: Path) -> Iterator[Fabric]:
    """The command, called where the manager is seen, and a stand-in for ``loginctl``."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "loginctl").write_text(LOGINCTL, encoding="ascii")
    (tools / "loginctl").chmod(0o755)
    variables = {
        **quick.variables,
        "XDG_RUNTIME_DIR": str(manager.runtime_dir),
        "PATH": f"{tools}:{os.environ['PATH']}",
    }
    command = replace(
        quick,
        prefix=tmp_path / HARD_NAME,
        home=manager_home,
        variables=variables,
        program=(*manager.entering, *quick.program),
    )
    yield command
    command.cleanup()
    assert units(manager_home) == []
    shutil.rmtree(manager_home / ".config", ignore_errors=True)  # it stays where a test had files of its own in it


def units(home: Path) -> list[Path]:
    """Return every file and link of the user's units."""
    return sorted(path for path in (home / ".config").rglob("*") if not path.is_dir() or path.is_symlink())


def up(command: Fabric, *options: str) -> Any:
    return command.succeed("up", "--service", "systemd", "--no-smoke", *options)


def unit_of(command: Fabric) -> Path:
    return next(path for path in units(command.home) if path.suffix == ".service" and not path.is_symlink())


def service_of(done: Any) -> tuple[str, str]:
    change = next(each for each in done["changes"] if each["resource"].startswith("service/"))
    return change["action"], change["reason"]


def test_systemd_keeps_the_server_from_up_to_destroy(kept: Fabric, manager: UserManager) -> None:
    first = up(kept)
    name = unit_of(kept).name
    assert service_of(first)[0] == "create"
    assert kept.succeed("status")["service"] == "systemd"
    assert manager.systemctl("is-enabled", name) == "enabled"
    supervisor = psutil.Process(first["pid"]).parent()
    assert supervisor is not None
    assert manager.systemctl("show", "-P", "MainPID", name) == str(supervisor.pid)
    assert up(kept)["changed"] is False

    supervisor.send_signal(signal.SIGKILL)
    again = eventually(lambda: kept.succeed("status"), lambda seen: seen["state"] == "ready" and seen["pid"])
    assert again["state"] == "ready", again
    assert again["pid"] != first["pid"]
    assert not psutil.pid_exists(first["pid"])

    changed = up(kept, "--context", "512")
    assert [each["action"] for each in changed["changes"]] == ["none", "none", "update", "none", "restart"]
    assert manager.systemctl("is-active", name) == "active"

    assert kept.succeed("down")["stopped"] is True
    assert manager.systemctl("is-active", name) == "inactive"
    assert manager.systemctl("is-enabled", name) == "disabled", "it does not come back with the next login"
    assert kept.succeed("status")["state"] == "stopped"
    assert up(kept, "--context", "512")["changed"] is True

    assert str(unit_of(kept)) in kept.succeed("destroy", "--yes")["removed"]
    assert not (kept.home / ".config").exists()
    assert manager.systemctl("show", "-P", "LoadState", name) == "not-found"


@slow
def test_it_starts_with_the_login_as_fabric_has_left_it(kept: Fabric, manager: UserManager) -> None:
    first = up(kept)
    name = unit_of(kept).name
    manager.systemctl("stop", name)  # as the last logout does
    assert kept.succeed("status")["state"] == "stopped"
    assert manager.systemctl("start", "default.target") == "", "what a login starts"
    seen = eventually(lambda: kept.succeed("status"), lambda seen: seen["state"] == "ready")
    assert (seen["state"], seen["generation"]) == ("ready", 1)
    assert seen["pid"] != first["pid"]
    environment = psutil.Process(seen["pid"]).environ()
    assert environment["HOME"].startswith(str(kept.prefix))
    assert "XDG_RUNTIME_DIR" not in environment, "nothing of the manager's own"
    assert up(kept)["changed"] is False


@slow
def test_back_to_builtin_nothing_of_the_service_stays(kept: Fabric, manager: UserManager) -> None:
    kept.succeed("up", "--no-smoke")
    assert kept.succeed("status")["service"] == "builtin"
    up(kept)
    name = unit_of(kept).name
    back = kept.succeed("up", "--no-smoke")
    assert service_of(back) == ("delete", "systemd → builtin")
    assert units(kept.home) == []
    assert manager.systemctl("is-active", name) == "inactive"
    seen = kept.succeed("status")
    assert (seen["state"], seen["service"], seen["drift"]) == ("ready", "builtin", [])


@slow
def test_a_rollback_goes_back_to_who_kept_the_server_before(kept: Fabric) -> None:
    kept.succeed("up", "--no-smoke")
    up(kept)
    kept.succeed("rollback", "--no-smoke")
    assert kept.succeed("status")["service"] == "builtin"
    assert units(kept.home) == []
    kept.succeed("rollback", "--no-smoke")
    seen = kept.succeed("status")
    assert (seen["service"], seen["state"], seen["drift"]) == ("systemd", "ready", [])


@slow
def test_what_somebody_writes_into_the_unit_is_shown_and_kept(kept: Fabric) -> None:
    up(kept)
    unit = unit_of(kept)
    text = unit.read_text(encoding="utf-8")
    unit.write_text(text + "# mine\n", encoding="utf-8")
    drift = kept.succeed("status")["drift"]
    assert [each["resource"] for each in drift] == [f"service/{unit.name}"]
    assert service_of(kept.succeed("plan", "--service", "systemd"))[0] == "update"
    up(kept)
    assert unit.read_text(encoding="utf-8") == text
    aside = unit.with_name(unit.name + ".not-fabrics")
    assert aside.read_text(encoding="utf-8") == text + "# mine\n"
    unit.write_text(text + "# again\n", encoding="utf-8")
    kept.succeed("destroy", "--yes")
    again = unit.with_name(unit.name + ".not-fabrics-2")
    assert units(kept.home) == [aside, again]
    for file in (aside, again):
        file.unlink()


@slow
def test_a_unit_of_that_name_that_is_not_ours_is_moved_aside(kept: Fabric) -> None:
    up(kept)
    unit = unit_of(kept)
    kept.succeed("destroy", "--yes")
    unit.parent.mkdir(parents=True, exist_ok=True)
    unit.write_text("[Service]\nExecStart=/bin/true\n", encoding="ascii")
    assert "kept" in kept("up", "--service", "systemd", "--no-smoke").stderr
    aside = unit.with_name(unit.name + ".not-fabrics")
    assert "/bin/true" in aside.read_text(encoding="ascii")
    assert kept.succeed("status")["state"] == "ready"
    aside.unlink()


@slow
def test_a_service_that_is_gone_or_disabled_is_put_back(kept: Fabric, manager: UserManager) -> None:
    up(kept)
    unit = unit_of(kept)
    manager.systemctl("disable", unit.name)
    assert "disabled" in kept.succeed("status")["drift"][0]["reason"]
    assert "disabled" in service_of(up(kept))[1]
    assert manager.systemctl("is-enabled", unit.name) == "enabled"
    unit.unlink()
    assert "gone" in kept.succeed("status")["drift"][0]["reason"]
    assert service_of(up(kept))[0] == "create"
    assert kept.succeed("status")["drift"] == []


@slow
def test_lingering_is_turned_on_when_asked_and_off_again(kept: Fabric, manager: UserManager) -> None:
    def lingers() -> bool:
        return Path(f"/proc/{manager.pid}/root/var/lib/systemd/linger/root").exists()

    up(kept)
    assert not lingers(), "never unless it is asked for"
    up(kept, "--linger")
    assert lingers()
    assert up(kept, "--linger")["changed"] is False
    up(kept)
    assert not lingers()
    up(kept, "--linger")
    kept.succeed("destroy", "--yes")
    assert not lingers()


@slow
def test_lingering_that_was_on_already_stays_on(kept: Fabric, manager: UserManager) -> None:
    marker = Path(f"/proc/{manager.pid}/root/var/lib/systemd/linger/root")
    marker.touch()
    up(kept, "--linger")
    kept.succeed("destroy", "--yes")
    assert marker.exists()
    marker.unlink()


@slow
def test_where_lingering_is_refused_the_old_server_serves_again(kept: Fabric) -> None:
    kept.succeed("up", "--no-smoke")
    tool = Path(kept.variables["PATH"].partition(":")[0], "loginctl")
    tool.write_text("#!/bin/sh\necho Interactive authentication required. >&2; exit 1\n", encoding="ascii")
    failed = kept("up", "--service", "systemd", "--linger", "--no-smoke", "--json")
    assert failed.returncode == 1, failed.said
    assert "serves again" in failed.json["error"]["hint"]
    assert kept.succeed("status")["service"] == "builtin"
    assert units(kept.home) == []
    assert kept.succeed("up", "--no-smoke")["changed"] is False
    kept.succeed("destroy", "--yes")


@slow
def test_where_the_service_cannot_be_made_the_old_server_serves_again(kept: Fabric) -> None:
    kept.succeed("up", "--no-smoke")
    obstacle = kept.home / ".config"
    obstacle.write_text("a file where a directory is needed", encoding="ascii")
    failed = kept("up", "--service", "systemd", "--no-smoke", "--json")
    obstacle.unlink()
    assert failed.returncode == 73, failed.said
    assert "serves again" in failed.json["error"]["hint"]
    seen = kept.succeed("status")
    assert (seen["state"], seen["service"]) == ("ready", "builtin")
    assert kept.succeed("up", "--no-smoke")["changed"] is False


@slow
def test_destroy_finds_the_unit_where_the_state_is_lost(kept: Fabric, manager: UserManager) -> None:
    up(kept)
    name = unit_of(kept).name
    for state in kept.prefix.glob("state.json*"):
        state.write_text("{", encoding="ascii")
    kept.succeed("destroy", "--yes")
    assert units(kept.home) == []
    assert manager.systemctl("is-active", name) == "inactive"


@slow
def test_a_manager_that_does_not_answer_is_told_before_anything_is_changed(kept: Fabric, tmp_path: Path) -> None:
    env = {"XDG_RUNTIME_DIR": str(tmp_path)}
    plan = kept.succeed("plan", "--service", "systemd", env=env)
    assert "SERVICE-SILENT" in [finding["code"] for finding in plan["findings"]]
    refused = kept("up", "--service", "systemd", "--json", env=env)
    assert refused.returncode == 69, refused.said
    assert not (kept.prefix / "engines").exists()


@pytest.mark.parametrize("service", [pytest.param("systemd", marks=slow), "launchd"])
def test_a_service_manager_that_is_not_here_is_refused_before_anything_is_changed(quick: Fabric, service: str) -> None:
    if service == "systemd" and Path("/run/systemd/system").exists():
        pytest.skip("systemd runs this machine")
    plan = quick.succeed("plan", "--service", service)
    assert "SERVICE-ABSENT" in [finding["code"] for finding in plan["findings"]]
    refused = quick("up", "--service", service, "--json")
    assert refused.returncode == 64, refused.said
    assert "builtin" in refused.json["error"]["hint"]
    assert not (quick.prefix / "engines").exists()


def killed_at_each(command: Fabric, point: str, *words: str) -> Iterator[int]:
    """Run the command again and again, killed at one moment after the other, until it survives."""
    for number in range(1, 60):
        done = command(*words, env={"STANDIN_KILL": f"{point}:{number}"})
        if done.returncode == 0:
            return
        assert done.returncode == -signal.SIGKILL, done.said
        yield number
    pytest.fail("no run survived: there are more moments than were tried")


@slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("point", ["journal", "replace", "unlink"])
def test_a_change_of_service_killed_anywhere_is_finished_by_the_next(kept: Fabric, point: str) -> None:
    kept.succeed("up", "--no-smoke")
    killed = 0
    for killed in killed_at_each(kept, point, "up", "--service", "systemd", "--no-smoke"):
        up(kept)
        plan = kept.succeed("plan", "--service", "systemd")
        assert {change["action"] for change in plan["changes"]} == {"none"}, (killed, plan["changes"])
        assert len(kept.processes()) == 2, killed
        kept.succeed("up", "--no-smoke")
        assert units(kept.home) == [], killed
        assert len(kept.processes()) == 2, killed
    assert killed >= 2
    for killed in killed_at_each(kept, point, "up", "--no-smoke"):  # back again
        kept.succeed("up", "--no-smoke")
        assert units(kept.home) == [], killed
        assert len(kept.processes()) == 2, killed
        up(kept)
    assert killed >= 2


@slow
@pytest.mark.parametrize("number", range(1, 6))
def test_a_destroy_killed_over_the_service_is_finished_by_the_next(kept: Fabric, number: int) -> None:
    up(kept)
    killed = kept("destroy", "--yes", env={"STANDIN_KILL": f"unlink:{number}"})
    assert killed.returncode == -signal.SIGKILL, killed.said
    kept.succeed("destroy", "--yes")
    assert units(kept.home) == []
    assert kept.processes() == []
