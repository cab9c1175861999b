"""Addresses of the web and the hosts in them: without their logins, whether one is this machine, whether it is safe."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

DEFAULT_PORTS = {"http": 80, "https": 443}
LOCALHOST = "localhost"
METADATA = "the metadata service of a cloud"
# What clouds hand their machines' own secrets out at, where that is not link-local: Amazon, Alibaba, Azure, Oracle.
_METADATA_ADDRESSES = frozenset(
    map(ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"))
)
_METADATA_NAMES = (
    *("metadata", "metadata.google.internal", "metadata.goog", "metadata.tencentyun.com"),
    *("instance-data", "instance-data.ec2.internal"),
)
_NAT64 = IPv6Network("64:ff9b::/96")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")


def without_login(url: str) -> str:
    """Return ``url`` without user name and password, else unchanged."""
    scheme, rest = split_scheme(url)
    authority = authority_of(rest)
    return scheme + authority.rpartition("@")[2] + rest[len(authority) :]


def split_scheme(url: str) -> tuple[str, str]:
    """Return the scheme with its ``://``, empty where there is none, and what follows."""
    scheme, separator, rest = url.partition("://")
    named = scheme.translate(dict.fromkeys(map(ord, "+.-"))).isalnum()
    return (scheme + separator, rest) if separator and named else ("", url)


def authority_of(text: str) -> str:
    """Return login, host and port at the beginning of what follows a scheme."""
    for end in "/?#":
        text = text.partition(end)[0]
    return text


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` can only mean this very machine: ``localhost`` or a loopback address in any spelling."""
    address = literal(host)
    return _bare(host) == LOCALHOST if address is None else address.is_loopback


def is_this_machine(host: str) -> bool:
    """Tell whether ``host`` may lead to this machine; a name that resolves to it is not seen here.

    Beyond loopback that is what may stand for it: a name below ``localhost``, an IPv6 address around a loopback one.
    """
    address = literal(host)
    if address is None:
        return is_loopback(host) or _bare(host).endswith(f".{LOCALHOST}")
    return any(each.is_loopback or each.is_unspecified for each in _meant(address))


def why_unsafe(host: str) -> str | None:
    """Return why nothing may be sent to ``host``, such as ``link-local``; ``None`` where it may.

    It is a name, or an IP address in any spelling. An IPv4 address inside of an IPv6 one counts as itself.
    """
    address = literal(host)
    if address is None:
        return METADATA if _bare(host) in _METADATA_NAMES else None
    return next(filter(None, map(_reason, _meant(address))), None)


def literal(host: str) -> Address | None:
    """Return the address that ``host`` spells (``2130706433`` and ``0x7f.1`` too), ``None`` for a name."""
    bare = _bare(host).partition("%")[0]
    try:
        address = ip_address(bare)
    except ValueError:
        return ipv4(bare)
    return getattr(address, "ipv4_mapped", None) or address


def is_number(label: str) -> bool:
    """Tell whether the last part of a host's name makes it an address."""
    return _NUMBER.fullmatch(label) is not None


def ipv4(text: str) -> IPv4Address | None:
    """Return what C's ``inet_aton`` makes of one to four parts: decimal, octal after 0, hexadecimal after 0x."""
    try:
        *first, last = map(_number, text.split("."))
        if len(first) < 4 and all(number < 256 for number in first) and last < 256 ** (4 - len(first)):
            return IPv4Address(sum(number << 8 * (3 - place) for place, number in enumerate(first)) + last)
    except ValueError:
        pass
    return None


def _bare(host: str) -> str:
    return host.strip("[]").removesuffix(".").lower()


def _number(part: str) -> int:
    if not is_number(part):
        raise ValueError
    if part[:2] in ("0x", "0X"):
        return int(part[2:] or "0", 16)
    return int(part, 8 if part.startswith("0") else 10)


def _meant(address: Address) -> list[Address]:
    """Return an address and, after it, the IPv4 address that it stands for."""
    if isinstance(address, IPv4Address):
        return [address]
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if inner is None and (address in _NAT64 or 1 < int(address) < 1 << 32):
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
    return [address] if inner is None else [address, inner]


def _reason(address: Address) -> str | None:
    reasons = {
        METADATA: address in _METADATA_ADDRESSES or str(address) == "169.254.169.254",
        "link-local": address.is_link_local,
        "multicast": address.is_multicast,
        "unspecified": address.is_unspecified or (address.version == 4 and int(address) >> 24 == 0),
        "reserved": address.version == 4 and int(address) >> 28 == 15,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)
