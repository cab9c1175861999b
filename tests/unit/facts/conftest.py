"""A machine made of a dictionary, and the data-driven cases."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from provision.host.answer import Response
from provision.host.machine import NOT_FOUND, Access, Command, CommandResult, Listener, Machine, Platform, Space

Imagine: TypeAlias = Callable[..., Machine]

CASES = Path(__file__).parents[2] / "cases" / "facts"
LINUX = Platform("Linux", "x86_64", "6.1.0", "glibc 2.36")


class ImaginedMachine:
    """``files`` maps paths to texts; a path that ends in ``/`` is an empty directory.

    A symbolic link is a file that holds where it points to. ``access`` says who may use a device node, ``servers``
    who listens and what is answered to each path.
    """

    def __init__(
        self,
        files: Mapping[str, str] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        platform: Platform = LINUX,
        free_bytes: int | None = None,
        access: Mapping[str, Access] | None = None,
        results: Mapping[tuple[str, ...], CommandResult] | None = None,
        servers: Mapping[Listener, Mapping[str, Response]] | None = None,
    ) -> None:
        self._files = dict(files or {})
        self._env = dict(env or {})
        self._platform = platform
        self._free_bytes = free_bytes
        self._access = dict(access or {})
        self._results = dict(results or {})
        self._servers = dict(servers or {})

    @property
    def platform(self) -> Platform:
        return self._platform

    @property
    def env(self) -> Mapping[str, str]:
        return self._env

    def read_text(self, path: str) -> str | None:
        return self._files.get(path)

    def list_dir(self, path: str) -> tuple[str, ...]:
        start = path.rstrip("/") + "/"
        below = (name.removeprefix(start) for name in self._files if name.startswith(start))
        return tuple(sorted({name.split("/")[0] for name in below if name}))

    def exists(self, path: str) -> bool:
        return any(name == path or name.startswith(path.rstrip("/") + "/") for name in self._files)

    def link_target(self, path: str) -> str | None:
        return (self._files.get(path) or "").strip() or None

    def access(self, path: str) -> Access | None:
        return self._access.get(path) or (Access(allowed=True) if self.exists(path) else None)

    def space(self, path: str) -> Space | None:
        return None if self._free_bytes is None else Space(self._free_bytes)

    def listeners(self, ports: Sequence[int]) -> tuple[Listener, ...]:
        return tuple(each for port in ports for each in self._servers if each.port == port)

    def http_get(self, port: int, path: str) -> Response:
        answers = next(answers for each, answers in self._servers.items() if each.port == port)
        return answers.get(path, Response(404))

    def interrupt(self) -> None:
        pass

    def run(self, command: Command) -> CommandResult:
        return self._results.get(command.argv, NOT_FOUND)


@pytest.fixture(scope="session")
def imagine() -> Imagine:
    return ImaginedMachine


def load_cases(name: str) -> list[Any]:
    """Read ``tests/cases/facts/<name>.json``: a list of objects, each with a ``case`` that names it."""
    cases: list[dict[str, Any]] = json.loads((CASES / f"{name}.json").read_text(encoding="utf-8"))
    return [pytest.param(case, id=case.pop("case")) for case in cases]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Feed ``@pytest.mark.cases("name")`` tests, one by one, through their argument ``case``."""
    mark = metafunc.definition.get_closest_marker("cases")
    if mark is not None:
        metafunc.parametrize("case", load_cases(mark.args[0]))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cases(name): one test for each object of tests/cases/facts/<name>.json")
