"""What a header says, and what the system says when the same file is really started."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.artifacts.elf import why_not_runnable
from provision.engines.exits import decode
from provision.host.program import Command, run
from tests.unit.artifacts.elf_file import AARCH64, I386, UD2, X86_64, elf, mach_o, program

NO_LOADER = b"/lib/ld-musl-nowhere.so.1"
X86 = 0x01000007
ARM = 0x0100000C
LINUX_X86 = sys.platform == "linux" and platform.machine() == "x86_64"
EMULATED = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists()
needs_linux_x86 = pytest.mark.skipif(not LINUX_X86, reason="the programs are made for Linux on x86_64")

WRONG = {
    "an empty file": (b"", "it is an empty file"),
    "a page": (b"<!DOCTYPE html><p>log in", "it is an HTML page, not a program"),
    "text": (b"Not Found", "it is plain text, not a program"),
    "another processor": (elf(machine=AARCH64), "made for aarch64, and this machine is x86_64"),
    "half the bits": (elf(machine=I386), "made for 32-bit x86"),
    "half the bits of the same": (elf(width=1), "32-bit program"),
    "a processor nobody knows": (elf(machine=9999), "a processor with the number 9999"),
    "the other byte order": (elf(order=2), "the other byte order"),
    "no program": (elf(kind=1), "a part of a program"),
    "a core": (elf(kind=4), "what a crash left behind"),
    "no loader": (
        elf(interpreter=NO_LOADER),
        f"loader {NO_LOADER.decode()} is not on this system: it was built for a ",
    ),
    "no glibc": (
        elf(interpreter=b"/lib/ld-linux-nowhere.so.2"),
        "is not on this system: it was built for a system with",
    ),
    "a loader by half its name": (elf(interpreter=b"ld.so"), "no whole path"),
    "a loader without a name": (elf(interpreter=b""), "makes no sense"),
    "a loader with a very long name": (elf(interpreter=b"/" + b"x" * 5000), "makes no sense"),
    "a loader that a terminal would obey": (elf(interpreter=b"/\x1b[31m\xff"), "is not on this system"),
    "nothing to load": (elf(loads=False), "nothing in it to load"),
    "odd segments": (elf(entry_bytes=57), "makes no sense"),
    "cut in its header": (elf()[:40], "makes no sense"),
    "cut after its magic": (elf()[:4], "makes no sense"),
    "cut": (elf()[:-1], "it is cut short"),
    "a macOS program": (mach_o(X86), "it is a macOS program, not a program for this system"),
    "a Windows program": (b"MZ" + bytes(100), "it is a Windows program"),
    "a script without its interpreter": (b"#!/no/such/interpreter -x\n", "interpreter /no/such/interpreter is not on"),
    "a script without any": (b"#!\n", "names no interpreter"),
}


@pytest.mark.fault("engine-does-not-run")
@pytest.mark.parametrize(("data", "why"), WRONG.values(), ids=WRONG.keys())
def test_a_file_that_cannot_start_says_why(tmp_path: Path, data: bytes, why: str) -> None:
    said = why_not_runnable(program(tmp_path / "p", data), "x86_64")
    assert why in said
    assert said.isprintable()


GOOD = {
    "static": elf(),
    "position-independent": elf(kind=3),
    "with a loader": elf(interpreter=sys.executable.encode()),
    "script": f"#!{sys.executable} -I\n".encode(),
}


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD.keys())
def test_nothing_is_said_of_a_file_that_can_start(tmp_path: Path, data: bytes) -> None:
    assert why_not_runnable(program(tmp_path / "p", data), "x86_64") == ""
    assert "not executable" in why_not_runnable(program(tmp_path / "p", data, 0o644), "x86_64")


def test_a_processor_may_have_another_name(tmp_path: Path) -> None:
    assert why_not_runnable(program(tmp_path / "p", elf(machine=AARCH64)), "arm64") == ""
    assert why_not_runnable(program(tmp_path / "p", elf(machine=X86_64)), "amd64") == ""


@pytest.mark.parametrize(
    ("data", "machine", "why"),
    [
        (mach_o(ARM), "arm64", ""),
        (mach_o(X86), "x86_64", ""),
        (mach_o(X86, ARM), "arm64", ""),
        (mach_o(X86), "arm64", "made for x86_64, and this machine is aarch64"),
        (mach_o(X86, 7), "arm64", "made for x86_64 and another processor, and"),
        (mach_o(X86, ARM)[:12], "arm64", "cut short"),
        (elf(), "arm64", "it is a Linux program, not a program for this system"),
    ],
)
def test_a_program_of_macos_is_told_by_its_processors(tmp_path: Path, data: bytes, machine: str, why: str) -> None:
    said = why_not_runnable(program(tmp_path / "p", data), machine, "Darwin")
    assert (why in said) if why else said == ""


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe"])
def test_what_is_no_file_is_no_program(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "p"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    assert why_not_runnable(path, "x86_64")


@settings(max_examples=300)
@given(st.data())
def test_a_hostile_program_gets_words_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = data.draw(st.sampled_from([elf(), elf(interpreter=b"/lib64/ld.so"), mach_o(X86), mach_o(X86, ARM)]))
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(4, len(changed)))
        changed[at : at + data.draw(st.sampled_from([0, 1, 4, 8]))] = data.draw(st.binary(max_size=8))
    path = program(tmp_path_factory.getbasetemp() / "hostile", bytes(changed))
    for system in ("Linux", "Darwin"):
        assert why_not_runnable(path, "x86_64", system).isprintable()


def started(path: Path) -> tuple[int, str, bool]:
    done = run(Command((str(path),)), os.environ)
    ended = decode(done.returncode, done.stderr, ())
    return done.returncode, f"{ended.reason} / {ended.hint}", ended.retry


@needs_linux_x86
def test_a_good_program_really_starts(tmp_path: Path) -> None:
    assert run(Command((str(program(tmp_path / "p", elf())),)), os.environ).returncode == 0


REALLY = {
    "illegal instruction": (elf(UD2), 0o755, -4, "made for a newer processor"),
    "another processor": (elf(machine=AARCH64), 0o755, 126, "made for another processor or system"),
    "a page": (b"<!DOCTYPE html><p>log in", 0o755, 126, "is no program at all"),
    "no loader": (elf(interpreter=NO_LOADER), 0o755, 126, "the loader that it names, is not on this system"),
    "no interpreter": (b"#!/no/such/interpreter\n", 0o755, 126, "is not on this system"),
    "not executable": (elf(), 0o644, 126, "it is not executable"),
}


@pytest.mark.fault("engine-does-not-run")
@needs_linux_x86
@pytest.mark.parametrize(("data", "mode", "status", "why"), REALLY.values(), ids=REALLY.keys())
def test_what_the_system_says_is_put_into_words(tmp_path: Path, data: bytes, mode: int, status: int, why: str) -> None:
    if EMULATED and data == elf(machine=AARCH64):
        pytest.skip("this system runs programs of the other processor, too")
    returncode, said, retry = started(program(tmp_path / "p", data, mode))
    assert (returncode, retry) == (status, False)
    assert why in said


def test_a_path_without_a_file_is_no_program(tmp_path: Path) -> None:
    returncode, said, retry = started(tmp_path / "nothing")
    assert (returncode, retry) == (127, False)
    assert "no such program" in said


def compiler() -> str:
    found = shutil.which("gcc") or shutil.which("cc")
    if found is None:
        pytest.skip("needs a C compiler")
    return found


@pytest.mark.fault("engine-does-not-run")
@pytest.mark.skipif(sys.platform != "linux", reason="speaks of Linux's loader")
def test_a_library_that_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / "lib.c").write_text("int here(void) { return 0; }\n", encoding="utf-8")
    (tmp_path / "main.c").write_text("int here(void);\nint main(void) { return here(); }\n", encoding="utf-8")
    library, made = tmp_path / "libgone.so.7", tmp_path / "main"
    shared = ["-shared", "-Wl,-soname,libgone.so.7", "-o", str(library), str(tmp_path / "lib.c")]
    for arguments in (shared, ["-o", str(made), str(tmp_path / "main.c"), str(library)]):
        subprocess.run([compiler(), *arguments], check=True)
    library.unlink()
    assert why_not_runnable(made, platform.machine()) == "", "the header does not know"
    returncode, said, retry = started(made)
    assert (returncode, retry) == (127, False)
    assert "the shared library libgone.so.7 is not on this system" in said
