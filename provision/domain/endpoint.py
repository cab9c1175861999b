"""The address of a server that somebody else runs: checked before anything is sent there, and written in one way."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import quote, urlsplit

from provision.domain.web_address import DEFAULT_PORTS, Address, ipv4, is_number, why_unsafe
from provision.errors import RefusedError, UsageError

API = "v1"
MAX_CHARACTERS = 2048
MAX_HOST_CHARACTERS = 253

_HINT = "Write it like http://127.0.0.1:11434/v1 or https://api.example.com/v1."
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_PATH_CHARACTERS = "/%:!$&'()*+,;=-._~"

_PRIVATE = tuple(map(ip_network, ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1", "fc00::/7")))
_PRIVATE_ENDINGS = (".localhost", ".local", ".lan", ".internal", ".home.arpa")


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


def is_private(host: str) -> bool:
    """Tell whether a normalised host is this machine or one of a private network, by address or by name.

    A name without a dot, or below one of the endings set aside for private networks, is never one of the Internet.
    """
    address = _as_address(host)
    if address is None:
        return "." not in host or host.endswith(_PRIVATE_ENDINGS)
    return any(address in network for network in _PRIVATE)


def _as_address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


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
    if reason := why_unsafe(host):
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
    if not is_number(labels[-1]):
        return name
    address = ipv4(name)
    if address is None:
        raise UsageError("The host in the base URL is neither a name nor an IPv4 address.", _HINT)
    return str(address)


def _path(text: str) -> str:
    """Return a path that ends in one ``/v1``. Raises ``UsageError`` for one that climbs."""
    segments = [segment for segment in quote(text, safe=_PATH_CHARACTERS).split("/") if segment]
    if any(segment.lower().replace("%2e", ".") in (".", "..") for segment in segments):
        raise UsageError("The path in the base URL holds . or .. in place of a name.", _HINT)
    while segments and segments[-1] == API:
        segments.pop()
    return "/" + "/".join([*segments, API])
