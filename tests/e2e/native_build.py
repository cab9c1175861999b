"""``llama-server``, compiled by fabric itself from the pinned sources: once, then kept beside the wheels.

Compiling takes minutes, so it is done where ``FABRIC_TEST_NATIVE_BUILD=1`` asks for it, as ``.ci/run`` does. What was
compiled is kept in the tests' cache for the version that is pinned; the next session that asks goes on from it.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.apply.toolchain import find_toolchain
from provision.domain.spec import Install, Spec
from provision.engines.llamacpp import LlamaCpp
from provision.host.lock import exclusive
from tests.e2e.wheel_cache import cache_directory
from tests.standin.command import Fabric
from tests.standin.index_server import serving

WISH = Spec(backend="llamacpp", model="smollm2-135m", install=Install(("build",)))
TIMEOUT_S = 1800.0
ASKED_FOR = "FABRIC_TEST_NATIVE_BUILD"


@dataclass(frozen=True)
class Compiled:
    """What came of it: the document of ``up``, what the compiler printed, and the program."""

    up: Any
    log: str
    program: Path


def why_not() -> str | None:
    """Return why nothing can or shall be compiled here, ``None`` where it is."""
    if platform.system() != "Linux":
        return "the native build is for Linux"
    if find_toolchain(os.environ) is None:
        return "a native build needs a C++ compiler, CMake, and Ninja or make (Debian: g++ cmake ninja-build)"
    if not os.environ.get(ASKED_FOR):
        return f"compiling takes 5 to 15 minutes, and two where that was done before: {ASKED_FOR}=1 asks for it"
    return None


def compile_llama_cpp(wheels: dict[str, Path], place: Path) -> Compiled:
    """Have fabric compile and serve llama.cpp, going on from what is kept; the program is copied into ``place``.

    ``wheels`` are the files that ``WISH`` needs, by name.
    """
    _kept("home").mkdir(parents=True, exist_ok=True)
    with exclusive(_kept("lock"), _kept("lock.holder"), "test", TIMEOUT_S, lambda _: None), serving(wheels) as index:
        # The prefix is always at the same place, because the compiler's results tell where they were made.
        fabric = Fabric(_kept("prefix"), _kept("home"), index.index_url)
        with _builds_kept(fabric):
            up = fabric.start("up", *WISH.options(), "--port", "0", "--json").finish(TIMEOUT_S)
            assert up.returncode == 0, up.said
            (engine,) = (fabric.prefix / "engines").iterdir()
            program = Path(shutil.copy2(engine / "llama-server", place))
            log = (fabric.prefix / "logs" / "build.log").read_text(encoding="utf-8", errors="replace")
            return Compiled(up.json, log, program)


@contextmanager
def _builds_kept(fabric: Fabric) -> Iterator[None]:
    """Put what was built before into a new prefix, and keep what is built in it, also by a session that was killed."""
    made, kept = fabric.prefix / "builds", _kept("builds")
    if made.is_dir() and not kept.is_dir():
        made.rename(kept)
    fabric("destroy", "--yes")
    fabric("up", "--offline", *WISH.options())  # makes the prefix, and nothing else
    if kept.is_dir():
        kept.rename(made)
    try:
        yield
    finally:
        if made.is_dir():
            made.rename(kept)
        fabric.cleanup()


def _kept(name: str) -> Path:
    """Return where something is kept for the version of the sources that is pinned now."""
    version = next(release.version for release in LlamaCpp().releases() if release.sdist)
    return cache_directory() / "native" / version / name
