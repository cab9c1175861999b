"""Where the server of one prefix listens, against what was declared: an engine may open more than it was asked for."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from provision.domain.selection import Selection
from provision.errors import RefusedError
from provision.host import process
from provision.host.layout import Layout
from provision.host.listening_sockets import ListeningSocket, addresses_of, sockets_of
from provision.serve.observation import Server


class ExposedError(RefusedError):
    """The server listens where it was not told to."""

    code = "exposed"


def undeclared_sockets(layout: Layout, selection: Selection) -> tuple[ListeningSocket, ...] | None:
    """Return the sockets of our own server, and of all that it has started, that nobody declared.

    Empty where somebody else runs the server or none runs; ``None`` where that cannot be seen.
    """
    runtime = Server(layout, selection).runtime()
    if selection.is_remote or runtime is None or not process.is_running(runtime.supervisor):
        return ()
    found = sockets_of(process.tree(runtime.supervisor.pid))
    if found is None:
        return None
    left = undeclared(found, selection.host, selection.port, inner=False)
    return tuple(undeclared(left, selection.host, selection.port, inner=_has_inner(selection))) if left else ()


def _has_inner(selection: Selection) -> bool:
    from provision.knowledge.engine_files import load_engine_file  # most servers listen at one place alone

    return load_engine_file(selection.backend).inner_sockets


def undeclared(sockets: Iterable[ListeningSocket], host: str, port: int, *, inner: bool) -> list[ListeningSocket]:
    """Return the sockets that are neither the server's, at ``host`` and ``port``, nor its processes' among themselves.

    ``inner``: the processes of this engine talk through ports of loopback that nobody knows before.
    """
    own = {_plain(address) for address in addresses_of(host)}
    everywhere = any(address.is_unspecified for address in own)

    def is_declared(each: ListeningSocket) -> bool:
        address = _plain(each.address)
        if each.port == port and (address in own or (everywhere and address.is_unspecified)):
            return True
        return inner and address.is_loopback

    return [each for each in sockets if not is_declared(each)]


def check_sockets(layout: Layout, selection: Selection) -> None:
    """Raise ``ExposedError`` where the server can be reached in a way that nobody declared. What is unseen passes."""
    found = undeclared_sockets(layout, selection)
    if found:
        listed = " and ".join(f"{each.place} ({each.program}, process {each.pid})" for each in found)
        raise ExposedError(
            f"The server listens at {listed}; declared is {selection.host}, port {selection.port}.",
            "Something that the engine reads makes it open more than it was told to. `fabric logs` may tell what.",
        )


def _plain(address: str) -> IPv4Address | IPv6Address:
    """Return an address without its zone, and one of IPv4 that is written as one of IPv6 as what it is."""
    literal = ip_address(address.partition("%")[0])
    return (literal.ipv4_mapped or literal) if isinstance(literal, IPv6Address) else literal
