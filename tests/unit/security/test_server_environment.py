"""What doctor says of the variables that a server was started with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from provision.domain.engine import SERVER_FILE, ServerFile
from provision.domain.security_check import Outcome, SecurityCheck
from provision.domain.server import Runtime, ServerState
from provision.host import process
from provision.host.layout import Layout
from provision.security import environment
from provision.serve.environment import child_environment, keep_environment, kept_environment, server_environment
from tests.standin.command import eventually

OURS = ServerFile(("server",), {"LD_LIBRARY_PATH": "/engine/lib"}, 10)
WAITS = (sys.executable, "-I", "-c", "input()")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "prefix")
    made.generation(1).mkdir(parents=True)
    made.run.mkdir()
    (made.generation(1) / SERVER_FILE).write_bytes(msgspec.json.encode(OURS))
    keep_environment(made, {"PATH": os.environ["PATH"], "LANG": "C", "MY_TOKEN": "t"})
    return made


@pytest.fixture
def runtime() -> Runtime:
    return Runtime("4711", 1, ServerState.READY, process.myself())


class Serving:
    """Runs a process as the server, in the environment that it is passed."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.children: list[subprocess.Popen[bytes]] = []

    def __call__(self, env: dict[str, str], *argv: str) -> Runtime:
        child = subprocess.Popen(argv or WAITS, env=env, stdin=subprocess.PIPE)
        self.children.append(child)
        return replace(self.runtime, server=process.identify(child.pid))

    def end(self) -> None:
        for child in self.children:
            child.communicate(b"\n")


@pytest.fixture
def serving(runtime: Runtime) -> Iterator[Serving]:
    made = Serving(runtime)
    yield made
    made.end()


def passed(layout: Layout, runtime: Runtime, **more: str) -> dict[str, str]:
    return server_environment({**kept_environment(layout), **more}, OURS, runtime)


def looked_at(layout: Layout, runtime: Runtime) -> SecurityCheck:
    """Return the word on it; the program may not have begun yet."""
    found: SecurityCheck = eventually(
        lambda: environment.check(layout, runtime), until=lambda found: found.outcome is not Outcome.UNKNOWN
    )
    return found


def test_what_fabric_gives_is_fine(layout: Layout, runtime: Runtime, serving: Serving) -> None:
    found = looked_at(layout, serving(passed(layout, runtime)))
    assert found.outcome is Outcome.OK, found
    assert f"it has {len(passed(layout, runtime))} variables" in found.evidence


@pytest.mark.parametrize("changes", [{"MY_TOKEN": "canary-4711"}, {"HOME": "/canary-4711"}])
def test_what_the_supervisor_should_not_pass_on_is_a_failure(
    layout: Layout, runtime: Runtime, serving: Serving, changes: dict[str, str]
) -> None:
    layout.server_environment.write_text(json.dumps({**kept_environment(layout), **changes}), encoding="utf-8")
    found = looked_at(layout, serving(passed(layout, runtime)))
    assert found.outcome is Outcome.FAILED
    assert next(iter(changes)) in found.evidence
    assert "canary" not in found.evidence
    assert found.fix


def test_what_the_program_itself_sets_is_a_warning(layout: Layout, runtime: Runtime, serving: Serving) -> None:
    wrapper = ("/bin/sh", "-c", 'export LD_LIBRARY_PATH=/canary; exec "$@"', "wrapper", *WAITS)
    running = serving(passed(layout, runtime), *wrapper)
    found = eventually(  # the shell becomes the program
        lambda: environment.check(layout, running), until=lambda found: found.outcome is Outcome.WARNING
    )
    assert found.evidence.endswith(": LD_LIBRARY_PATH")


def test_a_process_that_only_has_its_number_is_not_looked_at(
    layout: Layout, runtime: Runtime, serving: Serving
) -> None:
    running = serving(dict(os.environ))
    assert running.server is not None
    for other in (replace(running.server, started=1), replace(running.server, boot_id="another")):
        assert environment.check(layout, replace(running, server=other)).outcome is Outcome.UNKNOWN


def test_without_a_server_or_a_record_nothing_is_known(layout: Layout, runtime: Runtime, serving: Serving) -> None:
    assert environment.check(layout, None).outcome is Outcome.UNKNOWN
    assert environment.check(layout, runtime).outcome is Outcome.UNKNOWN
    running = serving(passed(layout, runtime))
    layout.server_environment.unlink()
    found = environment.check(layout, running)
    assert (found.outcome, found.fix) == (Outcome.UNKNOWN, "")


def test_only_a_few_of_the_users_variables_are_kept(layout: Layout) -> None:
    assert kept_environment(layout) == child_environment(layout, {"PATH": os.environ["PATH"], "LANG": "C"})
