"""Programs of a few hundred bytes, made by hand."""

from __future__ import annotations

import struct
from pathlib import Path

X86_64, AARCH64, I386 = 62, 183, 3
BASE = 0x400000
UD2 = b"\x0f\x0b"  # an instruction that no x86 processor has
EXIT_0 = b"\x31\xff\xb8\x3c\x00\x00\x00\x0f\x05"  # xor edi, edi; mov eax, 60; syscall


def elf(
    code: bytes = EXIT_0,
    *,
    machine: int = X86_64,
    kind: int = 2,
    width: int = 2,
    order: int = 1,
    interpreter: bytes | None = None,
    entry_bytes: int = 56,
    loads: bool = True,
) -> bytes:
    """Return a 64-bit ELF file with one segment, which is all of it, and perhaps the name of a loader."""
    count = int(loads) + (interpreter is not None)
    start = 64 + 56 * count
    name = b"" if interpreter is None else interpreter + b"\0"
    size = start + len(name) + len(code)
    ident = struct.pack("<4sBBB9x", b"\x7fELF", width, order, 1)
    head = ident + struct.pack(
        "<HHIQQQIHHHHHH", kind, machine, 1, BASE + start + len(name), 64, 0, 0, 64, entry_bytes, count, 0, 0, 0
    )
    segments = b""
    if interpreter is not None:
        segments += struct.pack("<IIQQQQQQ", 3, 4, start, BASE + start, BASE + start, len(name), len(name), 1)
    if loads:
        segments += struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, size, size, 0x1000)
    return head + segments + name + code


def mach_o(*machines: int) -> bytes:
    """Return the header of a macOS program, for several processors where several are given."""
    if len(machines) == 1:
        return struct.pack("<IIIIIIII", 0xFEEDFACF, machines[0], 0, 2, 0, 0, 0, 0)
    parts = b"".join(struct.pack(">IIIII", machine, 0, 4096, 0, 12) for machine in machines)
    return struct.pack(">II", 0xCAFEBABE, len(machines)) + parts


def program(place: Path, data: bytes, mode: int = 0o755) -> Path:
    place.write_bytes(data)
    place.chmod(mode)
    return place
