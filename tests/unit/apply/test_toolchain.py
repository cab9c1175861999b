from __future__ import annotations

from pathlib import Path

import pytest

from provision.apply.toolchain import NoCompilerError, Toolchain, find_toolchain, require_toolchain


def environment(place: Path, *names: str, **more: str) -> dict[str, str]:
    """Return an environment in which only programs of these names are on PATH."""
    for name in names:
        (place / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (place / name).chmod(0o755)
    return {"PATH": str(place), **more}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("cc c++ cmake ninja make", "cc c++ cmake ninja Ninja"),
        ("gcc g++ cmake make", "gcc g++ cmake make Unix Makefiles"),
        ("clang clang++ cmake ninja-build", "clang clang++ cmake ninja-build Ninja"),
        ("cc g++ cmake gmake", "cc g++ cmake gmake Unix Makefiles"),
    ],
)
def test_what_is_on_path_is_found(tmp_path: Path, names: str, expected: str) -> None:
    c, cpp, cmake, builder, generator = expected.split(" ", 4)
    found = find_toolchain(environment(tmp_path, *names.split()))
    paths = (str(tmp_path / c), str(tmp_path / cpp), str(tmp_path / cmake), str(tmp_path / builder))
    assert found == Toolchain(*paths, generator)


def test_compilers_that_are_named_come_first(tmp_path: Path) -> None:
    env = environment(tmp_path, "cc", "c++", "my-cc", "my-c++", "cmake", "make", CC="my-cc", CXX="my-c++ -m64")
    found = find_toolchain(env)
    assert found is not None
    assert (found.c_compiler, found.cpp_compiler) == (str(tmp_path / "my-cc"), str(tmp_path / "my-c++"))


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ("", "a C and C++ compiler and CMake and Ninja or make"),
        ("cmake make", "a C and C++ compiler"),
        ("cc cmake make", "a C and C++ compiler"),
        ("c++ cmake make", "a C and C++ compiler"),
        ("cc c++ make", "CMake"),
        ("cc c++ cmake", "Ninja or make"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, names: str, missing: str) -> None:
    env = environment(tmp_path, *names.split())
    assert find_toolchain(env) is None
    with pytest.raises(NoCompilerError) as raised:
        require_toolchain(env)
    assert raised.value.message == f"A native build needs {missing}: not found on PATH."
    assert raised.value.hint == "Install what is missing, or leave `build` out of install.sources."


@pytest.mark.parametrize(
    ("names", "command"),
    [
        ("apt-get", "sudo apt install g++ cmake ninja-build"),
        ("apt-get c++ cc", "sudo apt install cmake ninja-build"),
        ("dnf cmake make", "sudo dnf install gcc-c++"),
        ("apk cmake", "sudo apk add g++ ninja"),
    ],
)
def test_the_hint_says_what_to_type_on_this_system(tmp_path: Path, names: str, command: str) -> None:
    with pytest.raises(NoCompilerError) as raised:
        require_toolchain(environment(tmp_path, *names.split()))
    assert f"({command})" in (raised.value.hint or "")
