"""Whether a program could start here, by what its header says: before anybody runs it.

ELF (Linux): the generic ABI, the 64-bit layout. Mach-O (macOS): the headers in Apple's ``mach-o/loader.h``. The file is
hostile until it is read.
"""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import BinaryIO

from provision.artifacts.first_bytes import ELF, ENOUGH_BYTES, MACH_O, SCRIPT, what_it_is

MAX_PATH_BYTES = 4096
MAX_PARTS = 64  # processors in one macOS file
_HEADER, _SEGMENT = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQQQ")
_PT_LOAD, _PT_INTERP = 1, 3
_ET_EXEC, _ET_DYN = 2, 3
_MACHINES = {
    3: "32-bit x86", 8: "MIPS", 20: "32-bit PowerPC", 21: "PowerPC", 22: "s390x", 40: "32-bit ARM", 62: "x86_64",
    183: "aarch64", 243: "RISC-V", 258: "LoongArch",
}  # fmt: skip
_APPLE_MACHINES = {0x01000007: "x86_64", 0x0100000C: "aarch64"}
_SAME = {"arm64": "aarch64", "amd64": "x86_64"}
_FAT = {b"\xca\xfe\xba\xbe": ">IIIII", b"\xca\xfe\xba\xbf": ">IIQQII"}


def why_not_runnable(file: Path, machine: str, system: str = "Linux") -> str:
    """Return in words why ``file`` cannot start on ``machine`` (x86_64, aarch64); empty where nothing is wrong.

    ``system`` is Linux or Darwin. Looks at the header, the loader or interpreter that it names, and the permission
    to run it; not at its libraries, and not at what instructions it is made of. Never raises for what is in the file.
    """
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            return "it is no file"
        with file.open("rb") as opened:
            why = _why(opened, _SAME.get(machine, machine), system)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    if why:
        return why
    return "" if os.access(file, os.X_OK) else "it is not executable, or lies on a file system that is mounted noexec"


def _why(file: BinaryIO, machine: str, system: str) -> str:
    start = file.read(ENOUGH_BYTES)
    kind = what_it_is(start)
    if kind == SCRIPT:
        return _why_not_script(start)
    if kind != (MACH_O if system == "Darwin" else ELF):
        return f"it is {kind}, not a program for this system"
    try:
        return _why_not_mach_o(file, start, machine) if system == "Darwin" else _why_not_elf(file, start, machine)
    except (struct.error, ValueError, OverflowError):
        return "it is damaged: its header makes no sense, or it is cut short"


def _why_not_script(start: bytes) -> str:
    words = start.partition(b"\n")[0][2:].split()
    return _absent("interpreter", os.fsdecode(words[0])) if words else "it is a script that names no interpreter"


def _why_not_elf(file: BinaryIO, start: bytes, machine: str) -> str:
    width, order = struct.unpack_from("<BB", start, 4)
    if order != 1:
        return "it was made for another processor, with the other byte order"
    number = struct.unpack_from("<H", start, 18)[0]
    made_for = _MACHINES.get(number, f"a processor with the number {number}")
    if made_for != machine:
        return f"it was made for {made_for}, and this machine is {machine}"
    if width != 2:
        return f"it is a 32-bit program for {machine}"
    _, kind, _, _, _, table, _, _, _, entry_bytes, entries, *_ = _HEADER.unpack_from(start)
    if kind not in (_ET_EXEC, _ET_DYN):
        return "it is a part of a program, or what a crash left behind, and no program"
    if entry_bytes != _SEGMENT.size:
        raise ValueError(entry_bytes)
    segments = list(_SEGMENT.iter_unpack(_at(file, table, entries * _SEGMENT.size)))
    if all(segment[0] != _PT_LOAD for segment in segments):
        return "it is damaged: there is nothing in it to load"
    return _why_not_loaded(file, segments)


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    """Return ``size`` bytes at ``offset``. Raises ``ValueError`` where they are not all there."""
    if offset + size > os.fstat(file.fileno()).st_size:
        raise ValueError(offset)
    file.seek(offset)
    return file.read(size)


def _why_not_loaded(file: BinaryIO, segments: list[tuple[int, ...]]) -> str:
    for kind, _, offset, _, _, size, _, _ in segments:
        if kind in (_PT_LOAD, _PT_INTERP):
            _at(file, offset + size, 0)
        if kind == _PT_INTERP:
            if not 2 <= size <= MAX_PATH_BYTES:
                raise ValueError(size)
            return _absent("loader", os.fsdecode(_at(file, offset, size).partition(b"\0")[0]))
    return ""


def _absent(what: str, path: str) -> str:
    """Return words where the program that has to start the file is not there."""
    shown = path if path.isprintable() else ascii(path)
    if not path.startswith("/"):
        return f"it names {shown[:200]!r} as its {what}, which is no whole path"
    if os.access(path, os.X_OK):
        return ""
    made = {"ld-musl": "a system with musl, such as Alpine", "ld-linux": "a system with glibc"}
    built = next((where for name, where in made.items() if name in path), "")
    return f"its {what} {shown[:200]} is not on this system" + (f": it was built for {built}" if built else "")


def _why_not_mach_o(file: BinaryIO, start: bytes, machine: str) -> str:
    form = _FAT.get(start[:4])
    if form is None:
        numbers = [struct.unpack_from("<I" if start[0] in b"\xcf\xce" else ">I", start, 4)[0]]
    else:
        count = min(struct.unpack_from(">I", start, 4)[0], MAX_PARTS)
        numbers = [part[0] for part in struct.iter_unpack(form, _at(file, 8, count * struct.calcsize(form)))]
    made_for = [_APPLE_MACHINES.get(number, "another processor") for number in numbers]
    if machine in made_for:
        return ""
    return f"it was made for {' and '.join(dict.fromkeys(made_for)) or 'nothing'}, and this machine is {machine}"
