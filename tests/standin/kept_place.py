"""A prefix with a server to keep, and with stand-ins for the service managers that start what the files say."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from provision.apply.service_file import look
from provision.apply.state import open_prefix, read_state, write_state
from provision.domain.engine import SERVER_FILE
from provision.domain.plan import Action
from provision.domain.spec import Spec
from provision.domain.state import ServiceUnit, State
from provision.facts import services
from provision.host import process
from provision.host.layout import Layout
from provision.keeping import Keeping
from provision.plan.service_change import service_change
from provision.serve.runtime import read_runtime
from tests.standin.selections import select_for_small_machine
from tests.standin.service_managers import LINGERING, programs

if TYPE_CHECKING:
    import pytest

SELECTION = select_for_small_machine()
SERVER = [sys.executable, "-I", "-c", "import time; time.sleep(600)"]


class Told:
    """What a person was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def transfer(self, name: str, total_bytes: int) -> Callable[[int], None]:
        raise NotImplementedError

    def steps(self, name: str) -> Callable[[int, int], None]:
        raise NotImplementedError


@dataclass
class Place:
    keeping: Keeping
    known: Path
    told: Told

    @property
    def layout(self) -> Layout:
        return self.keeping.layout

    @property
    def state(self) -> State:
        state = read_state(self.layout)
        assert state is not None
        return state

    def wish(self, service: str, *, linger: bool = False) -> Spec:
        return replace(SELECTION.spec, service=service, linger=linger)

    def change(self, service: str, *, linger: bool = False) -> State:
        return self.keeping.change(replace(SELECTION, spec=self.wish(service, linger=linger)), self.state)

    def needed(self, service: str) -> Action:
        seen = look(self.layout, self.keeping.env, self.state.unit, self.wish(service))
        changes = service_change(seen, is_up=self.server_pid() is not None)
        return changes[0].action if changes else Action.NONE

    def record(self) -> ServiceUnit:
        assert self.state.unit is not None
        return self.state.unit

    def unit(self) -> Path:
        return Path(self.record().path)

    def server_pid(self) -> int | None:
        runtime = read_runtime(self.layout)
        return runtime.server.pid if runtime and process.is_running(runtime.server) and runtime.server else None


@contextmanager
def kept_place(tmp_path: Path, patch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Give the place; its server is stopped and its service taken away afterwards."""
    home, known = tmp_path / "home", tmp_path / "known"
    home.mkdir()
    known.mkdir()
    layout = Layout(tmp_path / "50 % of mine" / "fabric")
    env = {"HOME": str(home), "PATH": f"{programs(tmp_path)}:{os.environ['PATH']}", "STANDIN_SERVICES": str(known)}
    patch.setattr(services, "LINGER", str(known / LINGERING))
    env["USER"] = "root"  # who is meant, whoever runs the tests
    open_prefix(layout)
    write_state(layout, State("lineage"))
    generation = layout.generation(1)
    generation.mkdir(parents=True)
    described = {"argv": SERVER, "env": {}, "stop_grace_s": 5, "failures": []}
    (generation / SERVER_FILE).write_text(json.dumps(described), encoding="utf-8")
    told = Told()
    made = Place(Keeping(layout, env, told), known, told)
    yield made
    made.keeping.take_away(made.state)
    assert made.server_pid() is None
