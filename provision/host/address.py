"""Which addresses may be asked: https, or http to this machine; never what exists only beside a machine."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import SplitResult, urljoin, urlsplit

from provision.domain.web_address import DEFAULT_PORTS, is_loopback, is_this_machine, why_unsafe, without_login
from provision.errors import RefusedError

_MIRROR_HINT = "Use an https mirror; http is for a package index alone, and with pip's trusted-host setting."
_REDIRECT_HINT = "Somebody between here and the file may be up to no good; use another network or mirror."


def redact(url: str) -> str:
    """Return ``url`` without user name, password and query, for messages."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "an address that cannot be read"
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{f':{port}' if port else ''}{parts.path}"


def origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port: whoever shares all three may be told the same secrets."""
    parts = split(url)
    return parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme)


def is_trusted(url: str, trusted_hosts: Collection[str]) -> bool:
    """Tell whether a host is trusted without encryption or certificate.

    Trusted hosts are named as for pip: ``mirror.lan``, or ``mirror.lan:8080`` for that port alone.
    """
    _, host, port = origin(url)
    return not {host, f"{host}:{port}"}.isdisjoint(trusted_hosts)


def check(url: str, trusted_hosts: Collection[str]) -> None:
    """Raise ``RefusedError`` for what is neither https, nor http to this machine or a trusted host."""
    parts = split(url)
    host = parts.hostname or ""
    if reason := why_unsafe(host):
        raise RefusedError(f"Will not ask {redact(url)}: {host} is {reason}.", "Use the address of a real host.")
    plain = parts.scheme == "http" and (is_loopback(host) or is_trusted(url, trusted_hosts))
    if not plain and (parts.scheme != "https" or not host):
        raise RefusedError(f"Will not fetch {redact(url)}: only https is trusted.", _MIRROR_HINT)


def follow(url: str, location: str, trusted_hosts: Collection[str]) -> str:
    """Return where a redirect leads, without any login in it. Raises ``RefusedError`` where it must not."""
    try:
        target = without_login(urljoin(url, location))
        check(target, trusted_hosts)
    except ValueError as error:
        raise RefusedError(f"{redact(url)} redirects to what is no address: {error}.", _REDIRECT_HINT) from error
    except RefusedError as refused:
        raise RefusedError(f"{redact(url)} redirects elsewhere. {refused.message}", refused.hint) from refused
    if is_this_machine(split(target).hostname or "") and not is_this_machine(split(url).hostname or ""):
        raise RefusedError(f"{redact(url)} redirects to this machine: {redact(target)}.", _REDIRECT_HINT)
    return target


def check_peer(peer: str, url: str, *, may_be_this_machine: bool) -> None:
    """Raise ``RefusedError`` where a name turned out to stand for an address that may not be asked.

    This is what a name server that changes its answers cannot get around: the address is that of the connection.
    """
    if why_unsafe(peer) or (is_this_machine(peer) and not may_be_this_machine):
        raise RefusedError(f"{redact(url)} leads to {peer}, which may not be asked. Nothing was sent.", _REDIRECT_HINT)


def split(url: str) -> SplitResult:
    """Split an address. Raises ``RefusedError`` for one that different readers could read differently."""
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port
    except ValueError as error:
        raise RefusedError(f"This is no address that can be asked: {error}.") from error
    if "\\" in parts.netloc or any(letter <= " " for letter in url):
        raise RefusedError(f"Will not fetch {redact(url)}: it has characters that no address has.")
    return parts
