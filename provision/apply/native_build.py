"""llama.cpp's server, compiled for exactly this processor from a source distribution that carries the tree."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from provision.apply.build_output import error_lines, parse_step, tells_of_full_disk, tells_of_killed_compiler
from provision.apply.toolchain import NINJA, Toolchain, require_toolchain
from provision.domain.frozen import frozen
from provision.errors import CannotCreateError, FabricError, InterruptedByUserError, InvalidInputError
from provision.host.environment import without_secrets
from provision.host.files import commit, explained, make_private_dir, remove_tree
from provision.host.line_log import line_log
from provision.host.program import Command, CommandResult, follow
from provision.host.reading import read_bytes, sha256_of_file

PROGRAM = "llama-server"
TREE = "vendor/llama.cpp"  # inside the source distribution
CONFIGURE_TIMEOUT_S = 600.0
BUILD_TIMEOUT_S = 4 * 3600.0
JOB_BYTES = 1 << 30  # what one compiler may take: up to 0.6 GiB was measured with GCC 12

# Only the server, in one file, for this processor, and nothing from the network: the web pages for browsers would be
# fetched, and its downloads of models (which need OpenSSL) are never used.
OPTIONS: Mapping[str, str] = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "OFF",
    "GGML_NATIVE": "ON",
    "GGML_CCACHE": "OFF",
    "LLAMA_ALL_WARNINGS": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_TOOLS": "ON",
    "LLAMA_BUILD_SERVER": "ON",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_CURL": "OFF",  # OpenSSL's forerunner, in older trees
    "FETCHCONTENT_FULLY_DISCONNECTED": "ON",
}
# A user's settings for other builds, that would change where things go or how much runs at once.
_NOT_OURS = frozenset(("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "DESTDIR", "VERBOSE", "NINJA_STATUS"))
_NOT_OURS_PREFIX = "CMAKE_GENERATOR"
_COMPILER_VARIABLES = ("CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS")  # read when CMake runs for the first time
_COMMIT = re.compile(r"[0-9a-f]{40}")


class BuildFailedError(FabricError):
    """The compiler or CMake failed; nothing was installed, and what was built so far is kept."""

    code = "build-failed"


@frozen
class _Build:
    """One build. ``env`` is the user's; ``work`` holds the sources and what was built so far."""

    work: Path
    tools: Toolchain
    env: Mapping[str, str]
    log: Path
    progress: Callable[[int, int], None]
    stop: threading.Event

    @property
    def source(self) -> Path:
        return self.work / "source"

    @property
    def tree(self) -> Path:
        return self.source / TREE

    @property
    def output(self) -> Path:
        return self.work / "build"

    @property
    def at_work(self) -> Path:
        """A file that stays where the compiler was not ended in good order, as by a power cut."""
        return self.work / "at-work"


def build_server(
    sdist: Path,
    work: Path,
    target: Path,
    *,
    env: Mapping[str, str],
    log: Path,
    progress: Callable[[int, int], None],
    stop: threading.Event,
    jobs: int,
) -> None:
    """Build ``llama-server`` from the source distribution ``sdist`` into the directory ``target``.

    ``progress`` is called with the steps that are done and all steps, never with fewer done than before. ``log`` gets
    all that CMake and the compiler print. ``work`` is kept: a build that was stopped goes on from there, one of other
    sources or with other tools starts anew. The network is not used.

    Raises ``NoCompilerError``, ``BuildFailedError``, ``RefusedError`` where ``sdist`` is no archive or an unsafe one,
    ``InvalidInputError`` where it does not carry llama.cpp, ``CannotCreateError`` where the disk is full, and
    ``InterruptedByUserError`` as soon as ``stop`` is set.
    """
    tools, work, log = require_toolchain(env), work.absolute(), log.absolute()
    with explained("building the engine"):
        build = _Build(work, tools, _environment(env, tools, work), log, progress, stop)
        make_private_dir(work)
        make_private_dir(work / "tmp")
        make_private_dir(log.parent)
        _prepare(build, sdist)
        _configure(build)
        _compile(build, jobs)
        _install(build, target)


def fitting_jobs(processors: int, free_bytes: int | None) -> int:
    """Return how many compilers may run at once, at least one."""
    return max(1, processors if free_bytes is None else min(processors, free_bytes // JOB_BYTES))


def _environment(env: Mapping[str, str], tools: Toolchain, work: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in without_secrets(env).items()
        if name not in _NOT_OURS and not name.startswith(_NOT_OURS_PREFIX)
    }
    own = {
        "CC": env.get("CC") or tools.c_compiler,
        "CXX": env.get("CXX") or tools.cpp_compiler,
        "LC_ALL": "C",
        "TMPDIR": str(work / "tmp"),
        "GIT_DIR": "/dev/null",  # the repository that the prefix may lie in is none of its business
    }
    return {**kept, **own}


def _prepare(build: _Build, sdist: Path) -> None:
    """Have the unpacked sources of exactly this archive, for exactly these tools."""
    from provision.artifacts.unpack import unpack

    marker = build.work / "inputs"
    inputs = _inputs(build, sdist)
    if build.at_work.exists() and build.tools.generator != NINJA:
        remove_tree(build.output)  # make takes half a file for a whole one
    if read_bytes(marker) == inputs:
        return
    marker.unlink(missing_ok=True)
    for old in (build.source, build.output):
        remove_tree(old)
    unpack(sdist, build.source, strip=1, stop=build.stop)
    if not (build.tree / "CMakeLists.txt").is_file():
        raise InvalidInputError(f"{sdist.name} does not carry llama.cpp: it has no {TREE}/CMakeLists.txt.")
    commit(marker, inputs)


def _inputs(build: _Build, sdist: Path) -> bytes:
    """Return what, if it changes, makes everything built before worthless."""
    variables = (build.env.get(name) for name in _COMPILER_VARIABLES)
    values = (sha256_of_file(sdist), *variables, *_arguments(build))
    return "\n".join(map(str, values)).encode()


def _arguments(build: _Build) -> list[str]:
    options = {**OPTIONS, "CMAKE_MAKE_PROGRAM": build.tools.builder}
    named = [f"-D{name}={value}" for name, value in options.items()]
    return [build.tools.cmake, "-S", str(build.tree), "-B", str(build.output), "-G", build.tools.generator, *named]


def _configure(build: _Build) -> None:
    revision = f"-DLLAMA_BUILD_COMMIT={_revision(build)}"
    argv = (*_arguments(build), "-DLLAMA_BUILD_NUMBER=0", revision)
    _run(build, "configuring", argv, CONFIGURE_TIMEOUT_S, lambda _: None)


def _revision(build: _Build) -> str:
    """Return the commit that the sources were taken from, which the archive may tell and the server then reports."""
    head = build.source / ".git" / "modules" / TREE / "HEAD"
    text = head.read_text(encoding="ascii", errors="replace").strip() if head.is_file() else ""
    return text[:9] if _COMMIT.fullmatch(text) else "unknown"


def _compile(build: _Build, jobs: int) -> None:
    done, total = 0, 0

    def on_line(line: str) -> None:
        nonlocal done, total
        step = parse_step(line)
        if step is not None and done < step[0] <= step[1]:
            done, total = step[0], max(total, step[1])
            build.progress(done, total)

    argv = (build.tools.builder, "-C", str(build.output), "-j", str(jobs), PROGRAM)
    build.at_work.touch()
    try:
        _run(build, "compiling", argv, BUILD_TIMEOUT_S, on_line)
    finally:
        build.at_work.unlink(missing_ok=True)


def _run(build: _Build, doing: str, argv: Sequence[str], timeout_s: float, on_line: Callable[[str], None]) -> None:
    with line_log(build.log, on_line) as lines:
        lines.write(f"$ {' '.join(argv)}\n".encode())
        result = follow(Command(tuple(argv), timeout_s, cwd=str(build.work)), build.env, lines.write, build.stop)
    if build.stop.is_set():
        raise InterruptedByUserError("Stopped while building; what was built so far is kept.")
    if result.returncode != 0:
        raise _failure(doing, result, list(lines.last), build.log)


def _failure(doing: str, result: CommandResult, lines: list[str], log: Path) -> FabricError:
    where = f"The whole log: {log}"
    if tells_of_full_disk(lines):
        return CannotCreateError(f"No space left while {doing} the engine.", "Free some space, and try again.")
    if tells_of_killed_compiler(lines):
        why = "the compiler was killed, as it is when memory runs out"
        return BuildFailedError(f"{doing.capitalize()} the engine failed: {why}.", f"Free some memory. {where}")
    why = result.stderr if result.timed_out else f"status {result.returncode}"
    said = "".join(f"\n  {line}" for line in error_lines(lines))
    return BuildFailedError(f"{doing.capitalize()} the engine failed ({why}):{said}", where)


def _install(build: _Build, target: Path) -> None:
    """Take the program, shared libraries where the build made some, and the licence."""
    made = build.output / "bin"
    if not (made / PROGRAM).is_file():
        raise BuildFailedError(f"The build ended well and made no {PROGRAM}.", f"The whole log: {build.log}")
    make_private_dir(target)
    for path in sorted(made.iterdir()):
        if path.name == PROGRAM or path.name.startswith("lib"):
            shutil.copy2(path, target / path.name, follow_symlinks=False)
    shutil.copyfile(build.tree / "LICENSE", target / "LICENSE")
