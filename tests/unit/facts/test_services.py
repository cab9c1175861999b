from __future__ import annotations

from collections.abc import Callable

import pytest

from provision.facts.services import Services, read_services
from provision.host.machine import Machine, Platform

Imagine = Callable[..., Machine]

SOCKET = "/run/user/1000/systemd/private"
LINGER = "/var/lib/systemd/linger/"


@pytest.mark.parametrize(
    ("uid", "env", "files", "expected"),
    [
        (1000, {"XDG_RUNTIME_DIR": "/run/user/1000", "USER": "me"}, [SOCKET, LINGER + "me"], Services(True, True)),
        (1000, {"XDG_RUNTIME_DIR": "/run/user/1000", "USER": "me"}, [SOCKET, LINGER + "you"], Services(True, False)),
        (1000, {"USER": "me"}, [SOCKET], Services(True, False)),
        (1000, {"XDG_RUNTIME_DIR": "", "LOGNAME": "me"}, [LINGER + "me"], Services(False, True)),
        (1000, {"XDG_RUNTIME_DIR": "/home/me/run", "USER": "me"}, [SOCKET], Services(False, False)),
        (None, {"XDG_RUNTIME_DIR": "/run/user/1000"}, [SOCKET], Services(True, None)),
        (None, {"USER": "me"}, [SOCKET], Services(None, False)),
        (0, {"USER": "me"}, [SOCKET, LINGER + "me"], Services(False, False)),
        (0, {}, ["/run/user/0/systemd/private", LINGER + "root"], Services(True, True)),
        (1000, {"USER": "../../../etc"}, ["/etc/passwd"], Services(False, None)),
        (1000, {"USER": ".."}, [LINGER + "me"], Services(False, None)),
        (None, {}, [SOCKET], None),
    ],
    ids=[
        "logged in, lingering",
        "another one lingers",
        "su keeps the manager and loses the variable",
        "not logged in",
        "the variable leads elsewhere",
        "no user name",
        "no user number",
        "root in another's environment",
        "root",
        "a name that is a path",
        "a name that is a directory",
        "nothing known",
    ],
)
def test_the_user_s_manager(
    uid: int | None, env: dict[str, str], files: list[str], expected: Services | None, imagine: Imagine
) -> None:
    machine = imagine(dict.fromkeys(files, ""), env=env, platform=Platform("Linux", "x86_64", uid=uid))
    assert read_services(machine, "systemd") == expected


@pytest.mark.parametrize("init", [None, "openrc", "runit", "s6"])
def test_other_inits_have_none(init: str | None, imagine: Imagine) -> None:
    machine = imagine({SOCKET: "", LINGER + "me": ""}, env={"USER": "me"}, platform=Platform("Linux", "x", uid=1000))
    assert read_services(machine, init) is None
