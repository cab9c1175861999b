"""Addresses of machines on a network: IPv4, IPv6 and MAC."""

from __future__ import annotations

import re

from provision.host.redaction.stand_ins import StandIns

# A version of four parts looks like an address: the kernel of WSL has one, so has Vulkan's conformanceVersion.
_IPV4 = re.compile(
    r"(ersion[ \t:=\"']{1,20})?(?<![\w.])(?<![A-Za-z]-)((?:\d{1,3}\.){3}\d{1,3})(?!\w|\.\d|-[A-Za-z])", re.IGNORECASE
)
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{3,4}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}(?![\w:])")
_MAC = re.compile(r"(?<![0-9A-Za-z:-])[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4,18}[0-9A-Fa-f]{2}(?![0-9A-Za-z:-])")
_MAC_IN_NAME = re.compile(r"(?<![0-9A-Za-z])(enx|wlx|wwx)([0-9a-f]{12})(?![0-9A-Za-z])")  # an interface's name
_MAC_RANGE = "00:00:5e:00:53"
_IPV4_RANGES = ("192.0.2", "198.51.100", "203.0.113")
_IPV6_RANGE = "2001:db8:"
TABLES = ("route", "ipv6_route")
# Columns of /proc/net/route and ipv6_route. Of an address stays what it is for: anything, a link, a group.
_IPV4_COLUMN = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}(?![0-9A-Za-z])")
_IPV6_COLUMN = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{32}(?![0-9A-Za-z])")
_ANY_OR_MASK = re.compile(r"0*[0Ff]*")
_LINK_LOCAL_IPV4 = "FEA9"
_SCOPED_IPV6 = ("fe8", "fe9", "fea", "feb", "ff")


def redact(text: str, stand_ins: StandIns) -> str:
    """Replace addresses; those that mean this machine, no machine, all machines, or a network mask stay."""
    text = _MAC.sub(lambda match: _mac(match[0], stand_ins), text)
    text = _MAC_IN_NAME.sub(lambda match: match[1] + _mac_digits(match[2], stand_ins), text)
    text = _IPV6.sub(lambda match: _ipv6(match[0], stand_ins), text)
    return _IPV4.sub(lambda match: match[0] if match[1] else _ipv4(match[2], stand_ins), text)


def redact_table(name: str, text: str) -> str:
    """Replace the addresses in one of the ``TABLES`` of /proc/net, where they are hexadecimal."""
    return _IPV4_COLUMN.sub(_ipv4_column, text) if name == "route" else _IPV6_COLUMN.sub(_ipv6_column, text)


def _ipv4_column(match: re.Match[str]) -> str:
    digits = match[0]
    kept = _ANY_OR_MASK.fullmatch(digits) or digits.upper().endswith(_LINK_LOCAL_IPV4)
    return digits if kept else "010200C0"  # 192.0.2.1, as a little-endian machine writes it


def _ipv6_column(match: re.Match[str]) -> str:
    digits = match[0].lower()
    if not digits.strip("0"):
        return digits
    start = digits[:4] if digits.startswith(_SCOPED_IPV6) else "20010db8"
    return start + "1".rjust(32 - len(start), "0")


def _mac(address: str, stand_ins: StandIns) -> str:
    if set(address) <= set("0:-") or set(address.lower()) <= set("f:-") or address.lower().startswith(_MAC_RANGE):
        return address
    number = stand_ins.number("mac", address.lower().replace("-", ":"))
    return f"{_MAC_RANGE}:{number % 256:02x}"


def _mac_digits(digits: str, stand_ins: StandIns) -> str:
    return _mac(":".join(re.findall("..", digits)), stand_ins).replace(":", "")


def _ipv4(address: str, stand_ins: StandIns) -> str:
    parts = [int(part) for part in address.split(".")]
    documented = address.startswith(tuple(f"{start}." for start in _IPV4_RANGES))
    if max(parts) > 255 or parts[0] in (0, 127, 255) or documented:
        return address
    number = stand_ins.number("ipv4", address) - 1
    return f"{_IPV4_RANGES[number // 254 % 3]}.{number % 254 + 1}"


def _ipv6(address: str, stand_ins: StandIns) -> str:
    from ipaddress import AddressValueError, IPv6Address

    try:
        IPv6Address(address)
    except AddressValueError:
        return address
    if address.lower().startswith(_IPV6_RANGE):
        return address
    return f"{_IPV6_RANGE}:{stand_ins.number('ipv6', address.lower()):x}"
