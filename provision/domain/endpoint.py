"""The address of a server that somebody else runs: checked before anything is sent there, and written in one way."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import quote, urlsplit

from provision.errors import RefusedError, UsageError

API = "v1"
DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_CHARACTERS = 2048
MAX_HOST_CHARACTERS = 253

_HINT = "Write it like http://127.0.0.1:11434/v1 or https://api.example.com/v1."
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
_PATH_CHARACTERS = "/%:!$&'()*+,;=-._~"

# What clouds hand their machines' own secrets out at, where that is not link-local: Amazon, Alibaba, Azure, Oracle.
_METADATA_ADDRESSES = frozenset(
    map(ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"))
)
_METADATA_NAMES = (
    *("metadata", "metadata.google.internal", "metadata.goog", "metadata.tencentyun.com"),
    *("instance-data", "instance-data.ec2.internal"),
)
_PRIVATE = tuple(map(ip_network, ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1", "fc00::/7")))
_PRIVATE_ENDINGS = (".localhost", ".local", ".lan", ".internal", ".home.arpa")
_NAT64 = IPv6Network("64:ff9b::/96")


def normalize(base_url: str, *, has_key: bool = False) -> str:
    """Return ``base_url`` in its one form: ``scheme://host[:port][/prefix]/v1``.

    ``has_key`` says that an API key would be sent there, which no unencrypted connection to the outside may carry.

    Raises ``UsageError`` for what is no address of a server, and ``RefusedError`` for one that holds a login, that is
    link-local, multicast, unspecified or a cloud's metadata service in any spelling, or that would show the key.
    No message repeats what may be a password.
    """
    text = base_url.strip()
    if len(text) > MAX_CHARACTERS or not text.isprintable() or any(letter in text for letter in ' \\"<>^`{|}'):
        raise UsageError("The base URL holds characters that no address has, or too many of them.", _HINT)
    if "@" in text:
        raise RefusedError(
            "The base URL holds a user name or password.",
            "Take it out; name the environment variable that holds the API key with --api-key-env.",
        )
    try:
        parts = urlsplit(text)
    except ValueError:
        raise UsageError("The base URL is not an address: its host makes no sense.", _HINT) from None
    if parts.scheme not in DEFAULT_PORTS or not parts.netloc:
        raise UsageError("The base URL has to begin with http:// or https:// and a host.", _HINT)
    if "?" in text or "#" in text:
        raise UsageError("The base URL has a query or a fragment: only a host and a path are expected.", _HINT)
    host, port = _split_port(parts.netloc)
    host = _host(host)
    if parts.scheme == "http" and has_key and not is_private(host):
        raise RefusedError(
            f"Will not send an API key to {host} without encryption.", "Use its https address, or leave the key away."
        )
    shown = f"[{host}]" if ":" in host else host
    where = shown if port in (None, DEFAULT_PORTS[parts.scheme]) else f"{shown}:{port}"
    return f"{parts.scheme}://{where}{_path(parts.path)}"


def why_unsafe(address: str) -> str | None:
    """Return why nothing may be sent to this IP address, such as ``link-local``; ``None`` where it may.

    An IPv4 address inside of an IPv6 one counts as itself. Raises ``ValueError`` for what is no IP address.
    """
    return next(filter(None, map(_reason, _meant(ip_address(address.partition("%")[0])))), None)


def is_private(host: str) -> bool:
    """Tell whether a normalised host is this machine or one of a private network, by address or by name.

    A name without a dot, or below one of the endings set aside for private networks, is never one of the Internet.
    """
    address = _as_address(host)
    if address is None:
        return "." not in host or host.endswith(_PRIVATE_ENDINGS)
    return any(address in network for network in _PRIVATE)


def _as_address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _meant(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """Return an address and, after it, the IPv4 address that it stands for."""
    if isinstance(address, IPv4Address):
        return [address]
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if inner is None and (address in _NAT64 or 1 < int(address) < 1 << 32):
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
    return [address] if inner is None else [address, inner]


def _reason(address: IPv4Address | IPv6Address) -> str | None:
    reasons = {
        "the metadata service of a cloud": address in _METADATA_ADDRESSES or str(address) == "169.254.169.254",
        "link-local": address.is_link_local,
        "multicast": address.is_multicast,
        "unspecified": address.is_unspecified or (address.version == 4 and int(address) >> 24 == 0),
        "reserved": address.version == 4 and int(address) >> 28 == 15,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _split_port(netloc: str) -> tuple[str, int | None]:
    """Split ``host:port``; an empty port is none. Raises ``UsageError`` for any other that is none."""
    host, colon, port = netloc.rpartition(":")
    if not colon or "]" in port:
        return netloc, None
    if not port:
        return host, None
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 1 << 16):
        raise UsageError("The port in the base URL is not a number from 1 to 65535.", _HINT)
    return host, int(port)


def _host(text: str) -> str:
    """Return a host in its one form, an IPv6 address without brackets. Raises as ``normalize`` does."""
    host = _ipv6(text[1:-1]) if text.startswith("[") and text.endswith("]") else _name_or_ipv4(text)
    reason = "the metadata service of a cloud" if host in _METADATA_NAMES else None
    if _as_address(host) is not None:
        reason = why_unsafe(host)
    if reason:
        raise RefusedError(
            f"{host} is {reason}: no model server is there.", "Name the address that the server listens on."
        )
    return host


def _ipv6(text: str) -> str:
    try:
        address = IPv6Address(text)
    except ValueError:
        raise UsageError("The host in the base URL is not an IPv6 address.", _HINT) from None
    if address.scope_id is not None:
        raise RefusedError(
            "The base URL names a network interface: that address is link-local.", "Name another address of the server."
        )
    return str(address.ipv4_mapped or address)


def _name_or_ipv4(text: str) -> str:
    """Return a name in lower case and ASCII, or an IPv4 address in its four decimal parts, however it was written."""
    try:
        # Python's own codec, because it is what connecting uses as well.
        name = (text if text.isascii() else text.encode("idna").decode("ascii")).lower().removesuffix(".")
        if "xn--" in name:
            name.encode("ascii").decode("idna")
    except UnicodeError:
        raise UsageError("The host in the base URL is not a name that can be looked up.", _HINT) from None
    labels = name.split(".")
    if len(name) > MAX_HOST_CHARACTERS or not all(map(_LABEL.fullmatch, labels)):
        raise UsageError("The host in the base URL is not a name that can be looked up.", _HINT)
    return str(_ipv4(labels)) if _NUMBER.fullmatch(labels[-1]) else name


def _ipv4(parts: list[str]) -> IPv4Address:
    """Return what ``inet_aton`` makes of one to four parts: decimal, octal after 0, hexadecimal after 0x."""
    try:
        *first, last = map(_number, parts)
        if len(first) < 4 and all(number < 256 for number in first) and last < 256 ** (4 - len(first)):
            return IPv4Address(sum(number << 8 * (3 - place) for place, number in enumerate(first)) + last)
    except ValueError:
        pass
    raise UsageError("The host in the base URL is neither a name nor an IPv4 address.", _HINT)


def _number(part: str) -> int:
    if not _NUMBER.fullmatch(part):
        raise ValueError
    if part[:2] in ("0x", "0X"):
        return int(part[2:] or "0", 16)
    return int(part, 8 if part.startswith("0") else 10)


def _path(text: str) -> str:
    """Return a path that ends in one ``/v1``. Raises ``UsageError`` for one that climbs."""
    segments = [segment for segment in quote(text, safe=_PATH_CHARACTERS).split("/") if segment]
    if any(segment.lower().replace("%2e", ".") in (".", "..") for segment in segments):
        raise UsageError("The path in the base URL holds . or .. in place of a name.", _HINT)
    while segments and segments[-1] == API:
        segments.pop()
    return "/" + "/".join([*segments, API])
