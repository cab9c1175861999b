"""Releases of llama.cpp laid out as upstream's, with a stand-in or a real program inside; and its source distribution.

An archive has one directory at its top, ``llama-<TAG>``, and in it programs, shared libraries under three names each,
and the licence; the programs find the libraries beside them.
"""

from __future__ import annotations

import gzip
import io
import platform
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = "ggml-org/llama.cpp"
TAG = "b11434"  # as profiles/engines/llamacpp.yaml pins it
CLI = Path(__file__).with_name("llama_server_cli.py")
SERVER = "llama-server"
LIBRARY = "libllama.so.0.0.1"

STUB = """\
#include <unistd.h>
extern char *const command[];
int main(int count, char **given) {
    char *argv[64];
    int n = 0;
    for (; command[n]; n++) argv[n] = command[n];
    for (int i = 1; i < count && n < 63; i++) argv[n++] = given[i];
    argv[n] = 0;
    execv(argv[0], argv);
    return 1;
}
"""


class Link(str):
    """Where a symbolic link leads."""


Tree = Mapping[str, "bytes | Link"]


def asset(tag: str = TAG) -> str:
    """Return the name of the archive for this machine's processor."""
    return f"llama-{tag}-bin-ubuntu-{'arm64' if platform.machine() == 'aarch64' else 'x64'}.tar.gz"


def pack(tree: Tree, top: str = f"llama-{TAG}") -> bytes:
    """Return a ``.tar.gz`` of ``tree``, always the same bytes. What is an ELF file or a script may be run."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as archive:
        for name, content in tree.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            if isinstance(content, Link):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
                continue
            member.size, member.mode = len(content), 0o755 if content.startswith((b"\x7fELF", b"#!")) else 0o644
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def script(**variables: str) -> bytes:
    """Return a program that is the stand-in, with these variables in its environment."""
    said = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    return f'#!/bin/sh\n{said}exec {shlex.join(_command())} "$@"\n'.encode()


def tree(server: bytes) -> dict[str, bytes | Link]:
    """Return what an archive holds, with this program as its server."""
    return {SERVER: server, "LICENSE": b"MIT License\n", **_links(), LIBRARY: b"\x7fELF of a stand-in\n"}


def compiled_tree(work: Path, compiler: str) -> dict[str, bytes | Link]:
    """Return what an archive holds, with a server that is linked to a library beside it."""
    words = ", ".join(f'"{word}"' for word in _command())
    (work / "library.c").write_text(f"char *const command[] = {{{words}, 0}};\n", encoding="utf-8")
    (work / "server.c").write_text(STUB, encoding="utf-8")
    library = ["-shared", "-fPIC", "-Wl,-soname,libllama.so.0", "-o", LIBRARY, "library.c"]
    program = ["-o", SERVER, "server.c", LIBRARY, "-Wl,-rpath,$ORIGIN"]
    for arguments in (library, program):
        subprocess.run([compiler, *arguments], cwd=work, check=True)
    return {**tree((work / SERVER).read_bytes()), LIBRARY: (work / LIBRARY).read_bytes()}


def compiler() -> str | None:
    """Return a C compiler, where there is one."""
    return shutil.which("cc") or shutil.which("gcc")


def make_sdist(target: Path, version: str) -> Path:
    """Write a source distribution whose tree compiles to the stand-in within seconds; return its path."""
    words = ", ".join(f'const_cast<char *>("{word}")' for word in _command())
    top = f"llama_cpp_python-{version}"
    inside = "vendor/llama.cpp"
    main = STUB.replace("extern char *const command[]", f"char *const command[] = {{{words}, nullptr}}")
    files = {
        "PKG-INFO": f"Metadata-Version: 2.2\nName: llama-cpp-python\nVersion: {version}\n",
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "none"\n',
        f"{inside}/CMakeLists.txt": CMAKE,
        f"{inside}/LICENSE": "MIT License\n",
        f"{inside}/main.cpp": main,
        **{f"{inside}/part{number}.cpp": f"int part{number} = {number};\n" for number in range(4)},
    }
    sdist = target / f"{top}.tar.gz"
    sdist.write_bytes(pack({name: text.encode() for name, text in files.items()}, top))
    return sdist


CMAKE = """\
cmake_minimum_required(VERSION 3.14)
project(tiny C CXX)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
file(GLOB PARTS ${CMAKE_SOURCE_DIR}/part*.cpp)
add_executable(llama-server main.cpp ${PARTS})
"""


def _links() -> dict[str, bytes | Link]:
    return {"libllama.so": Link("libllama.so.0"), "libllama.so.0": Link(LIBRARY)}


def _command() -> tuple[str, ...]:
    return (sys.executable, "-B", str(CLI))
