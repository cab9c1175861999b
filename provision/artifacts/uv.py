"""The package index and environments, through ``uv``: it resolves addresses, and installs what was checked."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from provision.artifacts.pip_settings import PackageSettings, uv_environment, uv_flags
from provision.domain.artifacts import Wheel
from provision.errors import CannotCreateError, FabricError, UnreachableError
from provision.host.program import Command, CommandResult, run

RESOLVE_TIMEOUT_S = 120.0
INSTALL_TIMEOUT_S = 600.0
_NETWORK_SIGNS = ("error sending request", "failed to fetch", "dns error", "connect", "timed out", "network")


class Uv:
    """``uv`` with all that it writes kept inside ``cache``, and the package settings of pip in ``env``."""

    def __init__(self, env: Mapping[str, str], settings: PackageSettings, cache: Path, stop: threading.Event) -> None:
        from uv import find_uv_bin

        self._program = str(find_uv_bin())
        self._staging = str(cache.parent)  # not the user's directory, whose project settings are none of our business
        own = {"UV_CACHE_DIR": str(cache), "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never"}
        self._env = {**env, **uv_environment(settings, env), **own, "TMPDIR": self._staging}
        self._flags = uv_flags(settings)
        self._stop = stop

    def locate(self, wheels: Sequence[Wheel], platform: str) -> dict[str, str]:
        """Return the address (https, http or file) of each wheel by its file name.

        ``platform`` is uv's name of the target. Raises ``UnreachableError`` where an index does not answer or
        does not have exactly these files.
        """
        requirements = "".join(f"{wheel.project}=={wheel.version}\n" for wheel in wheels)
        argv = ["pip", "compile", "-", "--quiet", "--no-deps", "--format", "pylock.toml", "--only-binary", ":all:"]
        argv += ["--python-version", "3.11", "--python-platform", platform]
        result = self._run([*argv, *self._flags], RESOLVE_TIMEOUT_S, requirements)
        if result.returncode != 0:
            raise _explain(result, "find " + ", ".join(f"{w.project} {w.version}" for w in wheels))
        found = _addresses(result.stdout)
        for wheel in wheels:
            if wheel.filename not in found:
                raise UnreachableError(
                    f"The package index does not offer {wheel.filename}.",
                    "Use an index or mirror that holds this exact file.",
                )
        return found

    def make_environment(self, path: Path) -> None:
        """Make an empty environment with this interpreter's base."""
        argv = ["venv", "--quiet", "--no-project", "--python", sys.executable, str(path)]
        self._checked(argv, "make an environment for the engine")

    def install(self, environment: Path, wheel: Path) -> None:
        """Install one checked wheel file into an environment, without the network."""
        argv = ["pip", "install", "--quiet", "--offline", "--no-deps", "--no-index", "--link-mode", "copy"]
        argv += ["--python", str(environment / "bin" / "python"), str(wheel)]
        self._checked(argv, f"install {wheel.name}")

    def _checked(self, argv: Sequence[str], what: str) -> None:
        result = self._run(argv, INSTALL_TIMEOUT_S)
        if result.returncode != 0:
            raise _explain(result, what)

    def _run(self, argv: Sequence[str], timeout_s: float, stdin: str = "") -> CommandResult:
        command = Command((self._program, *argv), timeout_s, stdin=stdin, cwd=self._staging)
        return run(command, self._env, self._stop)


def _addresses(pylock: str) -> dict[str, str]:
    """Map file names to addresses in a PEP 751 lock file."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    packages: list[dict[str, Any]] = tomllib.loads(pylock).get("packages", [])
    files = [wheel for package in packages for wheel in package.get("wheels", [])]
    files += [package["archive"] for package in packages if "archive" in package]
    return {_file_name(file): file.get("url") or Path(file["path"]).absolute().as_uri() for file in files}


def _file_name(file: Mapping[str, Any]) -> str:
    if "name" in file:
        return str(file["name"])
    return unquote(urlsplit(file.get("url", "")).path or file.get("path", "")).rpartition("/")[2]


def _explain(result: CommandResult, what: str) -> FabricError:
    said = " ".join(result.stderr.split())[-600:] or f"uv ended with {result.returncode}"
    lower = said.lower()
    if "no space left" in lower:
        return CannotCreateError(f"No space left to {what}.", "Free some space, or use --home on another disk.")
    if any(sign in lower for sign in _NETWORK_SIGNS):
        return UnreachableError(
            f"Cannot {what}: the package index does not answer ({said}).",
            "Check the network and the proxy. A mirror is named as for pip: PIP_INDEX_URL, or pip's configuration.",
        )
    return UnreachableError(f"Cannot {what}: {said}", "The package index that pip is configured with was asked.")
