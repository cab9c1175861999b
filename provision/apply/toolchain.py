"""The programs that a native build needs: a compiler, CMake, and what runs its build files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from provision.domain.frozen import frozen
from provision.errors import FabricError

NINJA = "Ninja"
_COMPILERS = ("c++", "g++", "clang++")
_C_OF = {"c++": ("cc", "gcc", "clang"), "g++": ("gcc", "cc"), "clang++": ("clang", "cc")}
_BUILDERS = (("ninja", NINJA), ("ninja-build", NINJA), ("make", "Unix Makefiles"), ("gmake", "Unix Makefiles"))

_COMPILER, _CMAKE, _BUILDER = "a C and C++ compiler", "CMake", "Ninja or make"
# What to type, by the program that adds packages to the system, and there the package of each that may be missing.
_PACKAGES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "apt-get": ("sudo apt install", {_COMPILER: "g++", _CMAKE: "cmake", _BUILDER: "ninja-build"}),
    "dnf": ("sudo dnf install", {_COMPILER: "gcc-c++", _CMAKE: "cmake", _BUILDER: "ninja-build"}),
    "yum": ("sudo yum install", {_COMPILER: "gcc-c++", _CMAKE: "cmake", _BUILDER: "make"}),
    "zypper": ("sudo zypper install", {_COMPILER: "gcc-c++", _CMAKE: "cmake", _BUILDER: "ninja"}),
    "pacman": ("sudo pacman -S", {_COMPILER: "gcc", _CMAKE: "cmake", _BUILDER: "ninja"}),
    "apk": ("sudo apk add", {_COMPILER: "g++", _CMAKE: "cmake", _BUILDER: "ninja"}),
    "brew": ("brew install", {_COMPILER: "gcc", _CMAKE: "cmake", _BUILDER: "ninja"}),
}


class NoCompilerError(FabricError):
    """A program that a native build needs is not on PATH."""

    code = "no-compiler"


@frozen
class Toolchain:
    """Absolute paths; ``generator`` is CMake's name of the files that ``builder`` reads."""

    c_compiler: str
    cpp_compiler: str
    cmake: str
    builder: str
    generator: str


def find_toolchain(env: Mapping[str, str]) -> Toolchain | None:
    """Return what is on PATH, or what CC and CXX name; ``None`` where a part of it is missing."""
    compilers, cmake, builder = _compilers(env), _which("cmake", env), _builder(env)
    if compilers is None or cmake is None or builder is None:
        return None
    return Toolchain(*compilers, cmake, *builder)


def require_toolchain(env: Mapping[str, str]) -> Toolchain:
    """Return what ``find_toolchain`` does. Raises ``NoCompilerError`` that names what is missing."""
    found = find_toolchain(env)
    if found is not None:
        return found
    present = {_COMPILER: _compilers(env), _CMAKE: _which("cmake", env), _BUILDER: _builder(env)}
    missing = [name for name, value in present.items() if value is None]
    raise NoCompilerError(f"A native build needs {' and '.join(missing)}: not found on PATH.", _advice(missing, env))


def _advice(missing: list[str], env: Mapping[str, str]) -> str:
    for manager, (command, packages) in _PACKAGES.items():
        if _which(manager, env) is not None:
            names = " ".join(packages[name] for name in missing)
            return f"Install what is missing ({command} {names}), or leave `build` out of install.sources."
    return "Install what is missing, or leave `build` out of install.sources."


def _compilers(env: Mapping[str, str]) -> tuple[str, str] | None:
    named = _which(env.get("CC", ""), env), _which(env.get("CXX", ""), env)
    for name in _COMPILERS:
        cpp = named[1] or _which(name, env)
        c = named[0] or next((path for other in _C_OF[name] if (path := _which(other, env))), None)
        if c is not None and cpp is not None:
            return c, cpp
    return None


def _builder(env: Mapping[str, str]) -> tuple[str, str] | None:
    found = ((_which(name, env), generator) for name, generator in _BUILDERS)
    return next(((path, generator) for path, generator in found if path is not None), None)


def _which(name: str, env: Mapping[str, str]) -> str | None:
    """Return the absolute path of a program; ``name`` may have options behind it, as in CC."""
    words = name.split()
    found = shutil.which(words[0], path=env.get("PATH", "")) if words else None
    return None if found is None else str(Path(found).absolute())
