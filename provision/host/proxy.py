"""The proxy on the way to a host, by the variables that every program reads: HTTPS_PROXY, HTTP_PROXY, NO_PROXY."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from provision.domain.frozen import frozen
from provision.domain.web_address import DEFAULT_PORTS, authority_of, is_loopback, split_scheme

_SCHEMES = ("http://", "https://", "socks://", "socks4://", "socks4a://", "socks5://", "socks5h://")


@frozen
class Proxy:
    """Where a proxy listens; with the scheme ``https`` it is itself spoken to through TLS.

    ``authorization`` is the value of its header, where a login is given.
    """

    host: str
    port: int
    authorization: str | None = None
    scheme: str = "http"

    @property
    def headers(self) -> dict[str, str]:
        """What the proxy itself has to be told."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}

    @property
    def url(self) -> str:
        """Its address, without the login."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def proxy_for(scheme: str, host: str, env: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for a host, ``None`` where it is reached without one; this machine always is.

    Raises ``OSError`` for a proxy that does not speak HTTP, such as one for SOCKS.
    """
    address = proxy_variable(env, f"{scheme}_proxy") or proxy_variable(env, "all_proxy")
    if not address or is_loopback(host) or _is_excepted(host, proxy_variable(env, "no_proxy") or ""):
        return None
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        if parts.scheme in DEFAULT_PORTS and parts.hostname:
            login = _authorization(parts.username, parts.password)
            return Proxy(parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme], login, parts.scheme)
    except ValueError:
        pass
    raise OSError(
        f"the proxy {proxy_without_login(address)} is none that can be used: only http and https proxies are spoken to"
    )


def proxy_variable(env: Mapping[str, str], name: str) -> str | None:
    """Return a variable by the rules of Python's urllib: lower case wins, also where it is empty.

    A CGI program gets HTTP_PROXY from whoever asks with a header ``Proxy``.
    """
    if name in env:
        return env[name].strip() or None
    if name == "http_proxy" and "REQUEST_METHOD" in env:
        return None
    return env.get(name.upper(), "").strip() or None


def proxy_without_login(address: str) -> str:
    """Return a proxy's scheme, host and port, the scheme only where it is given; empty where there is no host.

    A proxy's address has no path, so all before the last ``@`` is the login, also where a slash in the password
    is not escaped as it should be. What no proxy speaks is no scheme, but may be a user's name.
    """
    scheme, rest = split_scheme(address.strip())
    host = authority_of(rest.rpartition("@")[2])
    return (scheme if scheme.lower() in _SCHEMES else "") + host if host else ""


def _is_excepted(host: str, listed: str) -> bool:
    """Tell whether a list of exceptions names the host: itself, a domain above it, or a network that it is in."""
    if listed.strip() == "*":
        return True
    return any(_matches(host, entry.strip().lower()) for entry in listed.replace(",", " ").split())


def _matches(host: str, entry: str) -> bool:
    if "/" in entry:
        return _is_in_network(host, entry)
    if entry.count(":") == 1:  # with a port; an IPv6 address has more of them
        entry = entry.partition(":")[0]
    name = entry.removeprefix("*").lstrip(".").strip("[]")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _is_in_network(host: str, network: str) -> bool:
    from ipaddress import ip_address, ip_network

    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False


def _authorization(user: str | None, password: str | None) -> str | None:
    if user is None:
        return None
    from base64 import b64encode

    return "Basic " + b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode("ascii")
