"""A release archive of Ollama laid out as upstream's, with the stand-in inside, or the real program where there is one.

``FABRIC_TEST_OLLAMA`` names the real one, or it is on PATH. ``FABRIC_TEST_XLLAMACPP`` names an interpreter that has
``xllamacpp``: then the stand-in's answers come from llama.cpp.
"""

from __future__ import annotations

import hashlib
import io
import os
import shlex
import shutil
import sys
import tarfile
from pathlib import Path

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ARCHIVE, DARWIN_ARCHIVE = "ollama-linux-amd64.tar.zst", "ollama-darwin.tgz"
SUMS = "sha256sum.txt"
HERE = Path(__file__).parent
LIBRARIES = ("libggml-base.so", "libggml-cpu-haswell.so", "cuda_v12/libggml-cuda.so", "cuda_v13/libggml-cuda.so",
             "vulkan/libggml-vulkan.so")  # fmt: skip


def real_ollama() -> Path | None:
    """Return the real program where there is one."""
    named = os.environ.get("FABRIC_TEST_OLLAMA") or shutil.which("ollama")
    return Path(named).resolve() if named else None


def lay_out(target: Path, real: Path | None = None, xllamacpp: str | None = None) -> Path:
    """Write the tree of an unpacked release into ``target`` and return its ``bin/ollama``."""
    program, libraries = target / "bin" / "ollama", target / "lib" / "ollama"
    if real is not None:
        program.parent.mkdir(parents=True)
        shutil.copy2(real, program)
        payload = next(
            (real.parent / up / "lib" / "ollama" for up in ("..", ".") if (real.parent / up / "lib/ollama").is_dir()),
            None,
        )
        if payload is not None:
            shutil.copytree(payload, libraries, symlinks=True)
        return program
    for name in LIBRARIES:
        file = libraries / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"\x7fELF of a stand-in\n")
    interpreter = xllamacpp or os.environ.get("FABRIC_TEST_XLLAMACPP") or sys.executable
    _script(program, sys.executable, HERE / "ollama_program.py", '"$0" ')
    for name in ("llama-server", "llama-quantize"):
        _script(libraries / name, interpreter, HERE / "llama_server_program.py")
    return program


def _script(path: Path, interpreter: str, program: Path, first: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    command = f"{shlex.quote(interpreter)} -B {shlex.quote(str(program))}"
    path.write_text(f'#!/bin/sh\nexec {command} {first}"$@"\n', encoding="utf-8")
    path.chmod(0o755)


def make_darwin_archive(target: Path) -> Path:
    """Write the archive for macOS into ``target`` and return its path: all programs lie at its top, side by side."""
    lay_out(target / "linux")
    tree, archive = target / "tree", target / DARWIN_ARCHIVE
    (target / "linux" / "lib" / "ollama").rename(tree)
    (target / "linux" / "bin" / "ollama").rename(tree / "ollama")
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(tree.iterdir()):
            tar.add(path, path.name)
    return archive


def packed(data: bytes) -> bytes:
    """Compress as upstream does."""
    return zstd.compress(data)


def unpacked(data: bytes) -> bytes:
    """Return what was compressed."""
    return zstd.decompress(data)


def make_archive(target: Path, real: Path | None = None, xllamacpp: str | None = None) -> Path:
    """Write the archive and ``sha256sum.txt`` into the directory ``target``; return the archive's path."""
    tree = target / "tree"
    lay_out(tree, real or real_ollama(), xllamacpp)
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w") as tar:
        for path in sorted(tree.rglob("*")):
            tar.add(path, f"./{path.relative_to(tree)}", recursive=False)
    archive = target / ARCHIVE
    archive.write_bytes(packed(tarred.getvalue()))
    shutil.rmtree(tree)
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    (target / SUMS).write_text(f"{sha256}  ./{ARCHIVE}\n", encoding="utf-8")
    return archive
