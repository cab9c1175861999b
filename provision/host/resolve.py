"""Looking up where a name leads, before anything is sent there."""

from __future__ import annotations

from provision.errors import RefusedError


def check_resolved(host: str) -> tuple[str, ...]:
    """Return the IP addresses of ``host``; none where it cannot be looked up, as behind a proxy that does so itself.

    Raises ``RefusedError`` where one of them is link-local, multicast, unspecified or a cloud's metadata service.
    """
    import socket

    from provision.domain.web_address import why_unsafe

    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        reason = why_unsafe(address)
        if reason:
            raise RefusedError(
                f"{host} leads to {address}, which is {reason}: no model server is there.",
                "Name the address that the server listens on.",
            )
    return addresses
