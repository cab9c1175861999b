"""A native build, of a tree so small that it takes seconds, with the real compiler."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from provision.apply.native_build import BuildFailedError, build_server, fitting_jobs
from provision.apply.toolchain import NoCompilerError
from provision.errors import InterruptedByUserError, InvalidInputError, RefusedError
from provision.host.process import identify
from tests.standin import llama_release

TOP = "llama_cpp_python-9.9.9"
COMMIT = "0123456789" * 4
PARTS = 6
CMAKE = (
    llama_release.CMAKE
    + """\
target_compile_definitions(llama-server PRIVATE COMMIT="${LLAMA_BUILD_COMMIT}" UI="${LLAMA_BUILD_UI}")
add_executable(something-else broken.cpp)
"""
)
MAIN = """\
#include <cstdio>
int main() { std::puts(COMMIT " " UI); }
"""
TREE = {
    "vendor/llama.cpp/CMakeLists.txt": CMAKE,
    "vendor/llama.cpp/LICENSE": "MIT License\n",
    "vendor/llama.cpp/main.cpp": MAIN,
    "vendor/llama.cpp/broken.cpp": "#error nobody wants this program",
    ".git/modules/vendor/llama.cpp/HEAD": f"{COMMIT}\n",
    **{f"vendor/llama.cpp/part{number}.cpp": f"int part{number} = {number};\n" for number in range(PARTS)},
}
NEEDED = ("cmake", "cc", "c++", "as", "ld", "ar", "ranlib")


def pack(path: Path, files: dict[str, str]) -> Path:
    """Write an archive that is the same, byte by byte, whenever it is written."""
    with gzip.GzipFile(path, "wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"{TOP}/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def wait_until_gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if identify(pid) is None:
            return True
        time.sleep(0.02)
    return False


@dataclass
class Bench:
    """Everything that a build is given."""

    place: Path
    env: dict[str, str]
    steps: list[tuple[int, int]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def target(self) -> Path:
        return self.place / "target"

    @property
    def log(self) -> Path:
        return self.place / "logs" / "build.log"

    def build(self, files: dict[str, str], on_step: Callable[[int, int], None] = lambda _, __: None) -> None:
        def progress(done: int, total: int) -> None:
            self.steps.append((done, total))
            on_step(done, total)

        sdist = pack(self.place / "sdist.tar.gz", files)
        work = self.place / "work"
        build_server(sdist, work, self.target, env=self.env, log=self.log, progress=progress, stop=self.stop, jobs=1)

    def objects(self) -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (self.place / "work" / "build").rglob("part*.o")}

    def said(self) -> str:
        done = subprocess.run([self.target / "llama-server"], capture_output=True, text=True, check=True)
        return done.stdout.strip()


@pytest.fixture(params=["ninja", "make"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """With only one program on PATH that can run the build."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in (*NEEDED, request.param):
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"{name} is not installed")
        (programs / name).symlink_to(found)
    return Bench(tmp_path, {**os.environ, "PATH": str(programs), "CC": "", "CXX": ""})


def test_the_server_and_its_licence_are_built_and_nothing_else(bench: Bench) -> None:
    bench.build(TREE)
    assert sorted(path.name for path in bench.target.iterdir()) == ["LICENSE", "llama-server"]
    assert bench.said() == f"{COMMIT[:9]} OFF"
    assert "something-else" not in bench.log.read_text(encoding="utf-8")


def test_progress_only_grows_and_ends_with_all_steps(bench: Bench) -> None:
    bench.build(TREE)
    done = [step for step, _ in bench.steps]
    assert len(done) > PARTS
    assert done == sorted(set(done))
    assert bench.steps[-1][0] == bench.steps[-1][1]


def test_a_build_that_was_stopped_goes_on_where_it_was(bench: Bench) -> None:
    def halfway(done: int, total: int) -> None:
        if 2 * done >= total:
            bench.stop.set()

    with pytest.raises(InterruptedByUserError):
        bench.build(TREE, halfway)
    built = bench.objects()
    assert 0 < len(built) < PARTS
    assert not bench.target.exists()
    bench.stop = threading.Event()
    bench.build(TREE)
    assert bench.objects().items() >= built.items()
    assert bench.said().startswith(COMMIT[:9])
    assert bench.log.read_text(encoding="utf-8").count(" -S ") == 2


def test_a_compiler_at_work_is_ended_at_once(bench: Bench) -> None:
    """Ninja puts every compiler into a process group of its own."""
    note, compiler = bench.place / "pid", bench.place / "bin" / "c++"
    real = compiler.readlink()
    compiler.unlink()
    slow = f'case "$*" in *part3.cpp) echo $$ > {note}.new; mv {note}.new {note}; exec sleep 60;; esac'
    compiler.write_text(f'#!/bin/sh\nPATH={os.environ["PATH"]}\n{slow}\nexec {real} "$@"\n', encoding="utf-8")
    compiler.chmod(0o755)

    def stop_when_it_compiles() -> None:
        while not note.exists() and not bench.stop.wait(0.02):
            pass
        bench.stop.set()

    watcher = threading.Thread(target=stop_when_it_compiles)
    watcher.start()
    try:
        with pytest.raises(InterruptedByUserError):
            bench.build(TREE)
    finally:
        bench.stop.set()
        watcher.join()
    pid = int(note.read_text(encoding="utf-8"))
    assert wait_until_gone(pid)


def test_other_sources_start_anew(bench: Bench) -> None:
    bench.build(TREE)
    before = bench.objects()
    bench.build({**TREE, "vendor/llama.cpp/main.cpp": MAIN.replace("COMMIT", '"changed"')})
    assert bench.said() == "changed OFF"
    assert not before.items() & bench.objects().items()


@pytest.mark.parametrize("bench", ["ninja"], indirect=True)
def test_other_flags_for_the_compiler_start_anew(bench: Bench) -> None:
    bench.build(TREE)
    before = bench.objects()
    bench.env["CXXFLAGS"] = "-DMORE"
    bench.build(TREE)
    assert not before.items() & bench.objects().items()


@pytest.mark.parametrize("bench", ["ninja"], indirect=True)
def test_places_may_be_given_from_the_working_directory(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bench.place)
    bench.place = Path()
    bench.build(TREE)
    assert Path("target/llama-server").is_file()


@pytest.mark.parametrize("bench", ["make"], indirect=True)  # Ninja itself keeps a record of what was finished
def test_half_an_object_that_a_power_cut_left_is_compiled_again(bench: Bench) -> None:
    bench.build(TREE)
    work = bench.place / "work"
    (work / "build" / "bin" / "llama-server").unlink()
    next((work / "build").rglob("main.cpp.o")).write_bytes(b"half")
    (work / "at-work").touch()
    bench.build(TREE)
    assert bench.said().startswith(COMMIT[:9])
    assert not (work / "at-work").exists()


def test_a_compiler_that_fails_is_quoted(bench: Bench) -> None:
    with pytest.raises(BuildFailedError, match="Compiling the engine failed") as raised:
        bench.build({**TREE, "vendor/llama.cpp/part3.cpp": "#error broken on purpose\n"})
    assert "part3.cpp:1:2: error: #error broken on purpose" in raised.value.message
    assert str(bench.log) in (raised.value.hint or "")
    assert "broken on purpose" in bench.log.read_text(encoding="utf-8")
    assert not bench.target.exists()
    bench.build(TREE)
    assert bench.said().startswith(COMMIT[:9])


def test_cmake_that_fails_is_quoted(bench: Bench) -> None:
    with pytest.raises(BuildFailedError) as raised:
        bench.build({**TREE, "vendor/llama.cpp/CMakeLists.txt": f'{CMAKE}message(FATAL_ERROR "not on a Tuesday")\n'})
    assert raised.value.message.startswith("Configuring the engine failed (status 1):")
    assert "not on a Tuesday" in raised.value.message


def test_settings_of_the_user_for_other_builds_do_not_matter(bench: Bench) -> None:
    bench.env |= {
        "MAKEFLAGS": "-n",
        "DESTDIR": "/nowhere",
        "NINJA_STATUS": "hidden ",
        "CMAKE_GENERATOR": "Nonsense",
        "CMAKE_GENERATOR_PLATFORM": "nonsense",
        "LC_ALL": "de_DE.UTF-8",
    }
    bench.build(TREE)
    assert bench.said().startswith(COMMIT[:9])
    assert len(bench.steps) > PARTS


def test_sources_that_do_not_tell_their_commit_are_built_all_the_same(bench: Bench) -> None:
    bench.build({name: text for name, text in TREE.items() if not name.startswith(".git")})
    assert bench.said() == "unknown OFF"


def test_an_archive_without_the_tree_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidInputError, match="does not carry llama"):
        bench.build({"README.md": "nothing"})


def test_an_archive_that_writes_elsewhere_is_refused(bench: Bench) -> None:
    with pytest.raises(RefusedError, match="evil"):
        bench.build({**TREE, "../../evil": "x"})
    assert not list(bench.place.rglob("evil"))


def test_without_a_compiler_nothing_is_touched(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {"PATH": str(tmp_path / "nothing")})
    with pytest.raises(NoCompilerError):
        bench.build(TREE)
    assert [path.name for path in tmp_path.iterdir()] == ["sdist.tar.gz"]


@pytest.mark.parametrize(
    ("processors", "free_bytes", "jobs"),
    [(8, None, 8), (8, 3 << 30, 3), (2, 64 << 30, 2), (4, 100 << 20, 1), (4, 0, 1)],
)
def test_as_many_compilers_run_as_memory_allows(processors: int, free_bytes: int | None, jobs: int) -> None:
    assert fitting_jobs(processors, free_bytes) == jobs
