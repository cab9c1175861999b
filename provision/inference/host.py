"""The address of a server as ``OLLAMA_HOST`` and ``Client(host)`` write it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from provision.errors import FabricError, UsageError

HOST = "OLLAMA_HOST"
_HERE, _PORT = "127.0.0.1", 11434
_PORTS = {"http": 80, "https": 443}


def base_url(host: str) -> str:
    """Return ``scheme://host:port[/path]`` of what may leave out any of these but the path.

    With a scheme the port is that of the scheme, without one it is Ollama's. An address that servers listen on for
    all networks (``0.0.0.0``) is asked on this machine. Raises ``UsageError`` for what is no address.
    """
    scheme, separator, rest = host.strip().partition("://")
    scheme, rest = (scheme, rest) if separator else ("http", scheme)
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        port = parts.port or (_PORTS.get(scheme, _PORT) if separator else _PORT)
    except ValueError:
        raise UsageError(
            "The host is not an address.", "Write it like 127.0.0.1:11434 or https://example.com."
        ) from None
    login = "@" if "@" in parts.netloc else ""  # is refused where the address is checked
    path = parts.path.strip("/")
    return f"{scheme}://{login}{_reachable(parts.hostname or _HERE)}:{port}" + (f"/{path}" if path else "")


def with_host(env: Mapping[str, str], variable: str) -> Mapping[str, str]:
    """Return ``env`` with the address that ``OLLAMA_HOST`` tells in ``variable``, where nothing is there yet.

    Raises ``UsageError`` for what is no address.
    """
    host = env.get(HOST, "").strip()
    if not host or env.get(variable, "").strip():
        return env
    try:
        return {**env, variable: base_url(host)}
    except UsageError as error:
        raise UsageError(f"{HOST} cannot be used. {error.message}", error.hint) from None


def by_its_name(error: FabricError, variable: str) -> FabricError:
    """Return an error that blames ``variable`` as one that blames ``OLLAMA_HOST``, which the address came from."""
    return type(error)(error.message.replace(f"{variable} ", f"{HOST} ", 1), error.hint)


def _reachable(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return _HERE if address.version == 4 else "[::1]"
    return host if address.version == 4 else f"[{host}]"
