"""Numbers that belong to one device: UUIDs, unique ids, serial numbers."""

from __future__ import annotations

import re

from provision.host.redaction.stand_ins import StandIns

REDACTED = "redacted"
_UUID = re.compile(
    r"(?:(?<=pod)|(?<![0-9A-Za-z]))"  # Kubernetes writes pod<uuid>, with underscores
    r"([0-9A-Fa-f]{8})([-_])([0-9A-Fa-f]{4})\2([0-9A-Fa-f]{4})\2([0-9A-Fa-f]{4})\2([0-9A-Fa-f]{12})(?![0-9A-Za-z])"
)
_ROCM_UUID = re.compile(r"(\bGPU-)([0-9A-Fa-f]{16})(?![0-9A-Za-z-])", re.IGNORECASE)
_SHORT_UUID = re.compile(r"(\b(?:GPU|MIG)-)([0-9A-Fa-f]{4,15}|[0-9A-Fa-f]{8}-[0-9A-Fa-f-]{0,26})(?![0-9A-Za-z-])")
_UNIQUE_ID = re.compile(r"(\bunique[_ ]id\b[\"']?(?: *[:=] *| +)[\"']?)(0x)?([0-9A-Fa-f]{1,20})\b", re.IGNORECASE)
_UNKNOWN = r"(?:n/?a|none|unknown|not |0+\b|redacted|\[)"
_SERIAL_JSON = re.compile(
    rf"(\"[^\"\n]{{0,60}}serial[^\"\n]{{0,60}}\"\s{{0,9}}:\s{{0,9}})(?:\"(?!{_UNKNOWN})[^\"\n]+\"|[1-9]\d*)",
    re.IGNORECASE,
)
_SERIAL_XML = re.compile(rf"(<[\w.-]*serial[\w.-]*>)(?!{_UNKNOWN})[^<\n]+(?=<)", re.IGNORECASE)
_SERIAL_LINE = re.compile(
    rf"^([^\n:=]*serial[ _-]?(?:number|num|no|id)?[ \t]*[:=][ \t]*)(?!{_UNKNOWN})\S[^\n]*$",
    re.IGNORECASE | re.MULTILINE,
)
_PROGRAM_XML = re.compile(r"(<process_name>)[^<\n]+")
_SERIAL_FILES = ("serial", "serial_number", "product_serial", "board_serial", "chassis_serial", "asset_tag")
_UNIQUE_ID_FILES = ("unique_id",)


def redact(text: str, stand_ins: StandIns) -> str:
    """Replace the numbers of single devices. Those that only tell a place or a driver stay: they are mostly zeros."""
    text = _SERIAL_JSON.sub(rf'\1"{REDACTED}"', text)
    for pattern in (_SERIAL_XML, _SERIAL_LINE, _PROGRAM_XML):
        text = pattern.sub(rf"\1{REDACTED}", text)
    text = _UUID.sub(lambda match: _uuid(match, stand_ins), text)
    text = _ROCM_UUID.sub(lambda match: match[1] + _unique_id(int(match[2], 16), "016x", stand_ins), text)
    text = _SHORT_UUID.sub(lambda match: match[1] + _short(match[2], stand_ins), text)
    return _UNIQUE_ID.sub(lambda match: _labelled_id(match, stand_ins), text)


def redact_file(name: str, text: str, stand_ins: StandIns) -> str:
    """Replace a file that holds nothing but such a number."""
    content = text.strip()
    if name in _UNIQUE_ID_FILES and re.fullmatch(r"[0-9A-Fa-f]{1,16}", content):
        return _unique_id(int(content, 16), "016x", stand_ins) + "\n"
    return f"{REDACTED}\n" if name in _SERIAL_FILES and content else text


def _uuid(match: re.Match[str], stand_ins: StandIns) -> str:
    digits = "".join(match.group(1, 3, 4, 5, 6)).lower()
    if digits.endswith("00000000") or digits.count("0") >= 14:
        return match[0]
    return match[2].join((f"{stand_ins.number('uuid', digits):08x}", "0000", "0000", "0000", "0" * 12))


def _short(start: str, stand_ins: StandIns) -> str:
    """The beginning of a UUID, which is enough to choose a GPU, becomes the beginning of its stand-in."""
    digits = start.replace("-", "").lower()
    if digits.startswith("0000") or digits.endswith("00000000"):
        return start
    for kind, length in (("uuid", 32), ("unique-id", 16)):
        known = stand_ins.starting_with(kind, digits)
        if known is not None:
            return f"{stand_ins.number(kind, known):08x}".ljust(max(8, min(length, len(digits))), "0")
    return f"{stand_ins.number('uuid', digits):08x}" if len(digits) >= 8 else start


def _labelled_id(match: re.Match[str], stand_ins: StandIns) -> str:
    """KFD writes the number in decimal, the tools in hexadecimal."""
    decimal = match[2] is None and match[3].isdecimal()
    form = "d" if decimal else "016x"
    return match[1] + (match[2] or "") + _unique_id(int(match[3], 10 if decimal else 16), form, stand_ins)


def _unique_id(number: int, form: str, stand_ins: StandIns) -> str:
    """Return the stand-in of a 64-bit number; one whose lower half is empty is one already, and 0 is none."""
    if number & 0xFFFFFFFF == 0:
        return format(number, form)
    return format(stand_ins.number("unique-id", f"{number:016x}") << 32, form)
