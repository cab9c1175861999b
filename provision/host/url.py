"""Addresses as text: without the logins in them, whatever people write, and whether one is this machine."""

from __future__ import annotations

_PROXY_SCHEMES = ("http://", "https://", "socks://", "socks4://", "socks4a://", "socks5://", "socks5h://")


def without_login(url: str) -> str:
    """Return ``url`` without user name and password, else unchanged."""
    scheme, rest = _split(url)
    authority = _authority(rest)
    return scheme + authority.rpartition("@")[2] + rest[len(authority) :]


def proxy_without_login(address: str) -> str:
    """Return a proxy's scheme, host and port, the scheme only where it is given; empty where there is no host.

    A proxy's address has no path, so all before the last ``@`` is the login, also where a slash in the password
    is not escaped as it should be. What no proxy speaks is no scheme, but may be a user's name.
    """
    scheme, rest = _split(address.strip())
    host = _authority(rest.rpartition("@")[2])
    return (scheme if scheme.lower() in _PROXY_SCHEMES else "") + host if host else ""


def is_loopback(host: str) -> bool:
    """Tell whether a host is this very machine, by its name or its address in the usual form."""
    return host in ("localhost", "::1") or (host.startswith("127.") and host.replace(".", "").isdigit())


def _split(url: str) -> tuple[str, str]:
    scheme, separator, rest = url.partition("://")
    named = scheme.translate(dict.fromkeys(map(ord, "+.-"))).isalnum()
    return (scheme + separator, rest) if separator and named else ("", url)


def _authority(text: str) -> str:
    for end in "/?#":
        text = text.partition(end)[0]
    return text
