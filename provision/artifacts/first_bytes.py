"""What a file is by its first bytes: for messages about a file that is not what its name says."""

from __future__ import annotations

from provision.host.web_page import looks_like_a_page

ENOUGH_BYTES = 512

HTML = "an HTML page"
SCRIPT = "a script"
ELF = "a Linux program"
MACH_O = "a macOS program"
GZIP = "a gzip archive"
ZSTD = "a zstd archive"
ZIP = "a zip archive"

_MAGIC = {
    b"#!": SCRIPT,
    b"\x7fELF": ELF,
    b"\xcf\xfa\xed\xfe": MACH_O,
    b"\xce\xfa\xed\xfe": MACH_O,
    b"\xfe\xed\xfa\xcf": MACH_O,
    b"\xfe\xed\xfa\xce": MACH_O,
    b"\xca\xfe\xba\xbe": MACH_O,  # for several processors in one file
    b"\xca\xfe\xba\xbf": MACH_O,
    b"\x1f\x8b": GZIP,
    b"\x28\xb5\x2f\xfd": ZSTD,
    b"PK\x03\x04": ZIP,
    b"PK\x05\x06": ZIP,
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"GGUF": "a GGUF model",
    b"MZ": "a Windows program",
    b"version https://git-lfs": "a pointer of Git LFS",
}
_SKIPPABLE = b"\x2a\x4d\x18"  # with 0x50 to 0x5f before: a zstd frame without content, which some packers put first


def what_it_is(start: bytes) -> str:
    """Return what a file is that starts with these bytes, such as ``a zip archive``; ``something else`` at worst."""
    if not start:
        return "an empty file"
    if len(start) >= 4 and start[1:4] == _SKIPPABLE and start[0] >> 4 == 5:
        return ZSTD
    known = next((what for magic, what in _MAGIC.items() if start.startswith(magic)), None)
    if known:
        return known
    if looks_like_a_page(start):
        return HTML
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"[")):
        return "a JSON document"
    return "plain text" if _is_text(start) else "something else"


def _is_text(start: bytes) -> bool:
    return all(byte >= 0x20 or byte in b"\t\n\r\f" for byte in start)
