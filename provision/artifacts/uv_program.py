"""The package index and environments, through ``uv``: it resolves addresses, and installs what was checked."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from provision.artifacts.environment import configure, settle
from provision.artifacts.pip_settings import PackageSettings, uv_environment, uv_flags
from provision.artifacts.pylock import addresses_in
from provision.artifacts.uv_errors import explain, no_python, shortly
from provision.domain.artifacts import Wheel
from provision.errors import UnreachableError
from provision.host.program import Command, CommandResult, run

RESOLVE_TIMEOUT_S = 120.0
INSTALL_TIMEOUT_S = 600.0
_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_PYTHON_TAG = re.compile(r"-cp3(\d+)-(cp3\d+|abi3|none)")  # in the name of a wheel


class Uv:
    """``uv`` with all that it writes kept inside ``cache``, and the package settings of pip in ``env``.

    ``offline`` keeps it from fetching an interpreter; everything else is asked of it only where that is allowed.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        settings: PackageSettings,
        cache: Path,
        stop: threading.Event,
        *,
        offline: bool = False,
    ) -> None:
        from uv import find_uv_bin

        self._program = str(find_uv_bin())
        self._ours = {"UV_PYTHON_INSTALL_DIR": str(cache.parent.parent / "python")}
        self._staging = str(cache.parent)  # not the user's directory, whose project settings are none of our business
        own = {"UV_CACHE_DIR": str(cache), "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never"}
        told = uv_environment(settings, env)
        self._env = {**env, **told, **own, "TMPDIR": self._staging}
        self._extra = told.get("UV_INDEX", "").split()
        self._flags = uv_flags(settings)
        self._stop = stop
        self._offline = offline

    def locate(self, wheels: Sequence[Wheel], python: str | None = None) -> dict[str, str]:
        """Return the address (https, http or file) of each wheel or source distribution by its file name.

        They may be for any platform; ``python`` is the version that they are for, else this one. Raises
        ``UnreachableError`` where an index does not answer or none has exactly these files.
        """
        found: dict[str, str] = {}
        for order in self._orders():
            missing = [wheel for wheel in wheels if wheel.filename not in found]
            if missing:
                offered = self._offered(missing, python or _VERSION, order)
                found |= {wheel.filename: offered[wheel.filename] for wheel in missing if wheel.filename in offered}
        for wheel in wheels:
            if wheel.filename not in found:
                raise UnreachableError(
                    f"The package index does not offer {wheel.filename}.",
                    "Use an index or mirror that holds this exact file.",
                )
        return found

    def _orders(self) -> list[dict[str, str]]:
        """Return the orders to ask the indexes in, as variables for uv: as configured, then each first in its turn.

        Of a version uv lists the files of the first index that has it, so that a mirror with a part of them hides the
        rest.
        """
        firsts = (self.default_index(), *self._extra[1:]) if self._extra else ()
        return [{}, *({"UV_INDEX": " ".join((first, *self._extra))} for first in firsts)]

    def default_index(self) -> str:
        """Return the index that is asked when no other one has a thing: the configured one, else uv's own."""
        named = self._env.get("UV_DEFAULT_INDEX") or self._env.get("UV_INDEX_URL")
        return named or self._default_of_uv()

    def _default_of_uv(self) -> str:
        argv = ["pip", "compile", "-", "--quiet", "--no-header", "--emit-index-url", "--offline"]
        result = self._run([*argv, "--python", sys.executable], RESOLVE_TIMEOUT_S)
        said = re.search(r"^--index-url (\S+)$", result.stdout, re.MULTILINE)
        if said is None:
            raise explain(result, "learn which package index is asked", self._staging)
        return said[1]

    def _offered(self, wheels: Sequence[Wheel], python: str, order: Mapping[str, str]) -> dict[str, str]:
        """Return the address of every file, whatever platform it is for, of the versions that ``wheels`` are of.

        ``===``, because for ``==`` a build of the same version with a label, such as 2.13.0+cpu, is as good.
        """
        groups: dict[tuple[str, str], list[str]] = {}
        for wheel in wheels:
            groups.setdefault(_group(wheel.filename, python), []).append(f"{wheel.project}==={wheel.version}")
        found: dict[str, str] = {}
        for (only, version), requirements in groups.items():
            offered = self._compile(requirements, only, "--universal", "--python-version", version, env=order)
            found |= {name: url for name, (url, _) in offered.items()}
        return found

    def look_up(self, project: str, version: str) -> tuple[Wheel, str]:
        """Return the wheel of a project for any machine as the index describes it, and its address.

        Raises ``UnreachableError`` where the index does not answer or has none with a hash.
        """
        offered = self._compile([f"{project}=={version}"], "--only-binary")
        for name, (url, file) in offered.items():
            sha256, size = file.get("hashes", {}).get("sha256"), file.get("size")
            if url.startswith("file:"):
                size = Path(unquote(urlsplit(url).path)).stat().st_size
            if sha256 and size and name.endswith(".whl"):
                return Wheel(project, version, name, sha256, size), url
        raise UnreachableError(
            f"The package index tells neither size nor hash of {project} {version}.", "Use another index or mirror."
        )

    def _compile(
        self, requirements: Sequence[str], only: str, *flags: str, env: Mapping[str, str] | None = None
    ) -> dict[str, tuple[str, dict[str, Any]]]:
        """Return address and description of each file that stands for ``requirements``, by name.

        Without more ``flags`` those are the files for this machine.
        """
        argv = ["pip", "compile", "-", "--quiet", "--no-deps", "--format", "pylock.toml", only, ":all:"]
        argv += ["--python", sys.executable, *flags, *self._flags]
        result = self._run(argv, RESOLVE_TIMEOUT_S, "".join(f"{line}\n" for line in requirements), env)
        if result.returncode != 0:
            raise explain(result, f"find {shortly(requirements)}", self._staging)
        return addresses_in(result.stdout)

    def make_environment(self, path: Path, python: str | None = None) -> None:
        """Make an empty environment with this interpreter's base, or with one of the version ``python``.

        Where this machine has none of that version, uv gets one into the prefix. Nothing in it tells where it lies.
        Raises ``UnreachableError`` where there is none to be had.
        """
        own = python in (None, _VERSION)
        argv = ["venv", "--quiet", "--no-project", "--relocatable", "--python", sys.executable if own else str(python)]
        downloads = {} if own or self._offline else {"UV_PYTHON_DOWNLOADS": "automatic"}
        result = self._run([*argv, str(path)], INSTALL_TIMEOUT_S, env={**self._ours, **downloads})
        if result.returncode != 0:
            why = explain(result, "make an environment for the engine", self._staging)
            raise why if own or not isinstance(why, UnreachableError) else no_python(str(python), result)

    def check_python(self, python: str | None) -> None:
        """Raise ``UnreachableError`` where there is no Python ``python`` here and none may be fetched."""
        if not self._offline or python in (None, _VERSION):
            return
        result = self._run(
            ["python", "find", "--quiet", "--no-project", str(python)], INSTALL_TIMEOUT_S, env=self._ours
        )
        if result.returncode != 0:
            raise UnreachableError(
                f"There is no Python {python} here, and nothing may be fetched. The engine needs one, and neither a "
                "lock nor a bundle holds it.",
                f"Install Python {python}, and run this again. Nothing was changed.",
            )

    def install(self, environment: Path, wheels: Sequence[Wheel], place: Path) -> None:
        """Install checked wheels that lie in ``place`` into an environment, without the network."""
        argv = ["pip", "install", "--quiet", "--offline", "--no-deps", "--no-index", "--link-mode", "hardlink"]
        found_in = place.as_uri().replace(",", "%2C")  # or uv takes it for two places
        argv += ["--find-links", found_in, "--python", str(environment / "bin" / "python")]
        argv += [f"{wheel.project}=={wheel.version}" for wheel in wheels]
        self._checked(argv, f"install {wheels[0].project} {wheels[0].version}")

    def compile(self, environment: Path) -> None:
        """Compile the byte code of an environment, bound to the sources' content and not to their times."""
        python = str(environment / "bin" / "python")
        # What Python itself loads as it starts is compiled in the same way, not with the time of its file.
        argv = (python, "-I", "-B", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash")
        command = Command((*argv, "-j", "0", "lib"), INSTALL_TIMEOUT_S, cwd=str(environment))
        run(command, self._env, self._stop)  # without it, it only starts later

    def settle(self, environment: Path) -> None:
        """Make an environment, to which nothing is added any more, the same on every machine."""
        home = settle(environment)
        argv = (str(environment / "bin" / "python"), "-IB", "-c", "import sys; sys.exit(sys.prefix == sys.base_prefix)")
        if run(Command(argv, INSTALL_TIMEOUT_S), self._env, self._stop).returncode != 0:
            configure(environment, home)  # this Python does not find its own library by itself

    def _checked(self, argv: Sequence[str], what: str) -> None:
        result = self._run(argv, INSTALL_TIMEOUT_S)
        if result.returncode != 0:
            raise explain(result, what, self._staging)

    def _run(
        self, argv: Sequence[str], timeout_s: float, stdin: str = "", env: Mapping[str, str] | None = None
    ) -> CommandResult:
        command = Command((self._program, *argv), timeout_s, env or {}, stdin=stdin, cwd=self._staging)
        return run(command, self._env, self._stop)


def _group(filename: str, python: str) -> tuple[str, str]:
    """Return how a file is asked for: as a wheel or not, and for which Python it is.

    A wheel for the stable ABI is for every Python from its own on; its package may ask for a later one.
    """
    only = "--only-binary" if filename.endswith(".whl") else "--no-binary"
    tag = _PYTHON_TAG.search(filename)
    if tag is None or (tag[2] == "abi3" and int(python.partition(".")[2]) >= int(tag[1])):
        return only, python
    return only, f"3.{tag[1]}"
