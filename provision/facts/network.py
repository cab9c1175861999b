"""How the outside is reached: the kernel's routes, and the proxies that the environment names.

Sources: the kernel's net/ipv4/fib_trie.c and net/ipv6/route.c for the two files, include/uapi/linux/route.h and
ipv6_route.h for the flags.
"""

from __future__ import annotations

from collections.abc import Mapping

from provision.host.machine import Machine
from provision.host.proxy import proxy_variable, proxy_without_login

IPV4_PATH, IPV6_PATH = "/proc/net/route", "/proc/net/ipv6_route"
SCHEMES = ("http", "https", "all")

_UP, _REJECT = 0x1, 0x200
_ANYCAST, _LOCAL = 0x100000, 0x80000000
_NOWHERE = ("lo", "*")
_IPV4_LINK_LOCAL = "FEA9"  # 169.254.0.0/16, its bytes in the order of a little-endian machine
_IPV6_NOT_OUTSIDE = ("fe8", "fe9", "fea", "feb", "ff")  # link-local and multicast


def read_offline(machine: Machine) -> bool | None:
    """Return ``True`` where the kernel has no route away from this machine, ``False`` where it has one.

    A route proves nothing: what it leads to may be down. Only the main table is seen. ``None`` where there is no
    /proc; a kernel without IPv6 has no second file.
    """
    ipv4 = machine.read_text(IPV4_PATH)
    if ipv4 is None:
        return None
    return not has_ipv4_route(ipv4) and not has_ipv6_route(machine.read_text(IPV6_PATH) or "")


def has_ipv4_route(text: str) -> bool:
    """Tell whether /proc/net/route leads anywhere. Raises ``ValueError`` for another format.

    The file is empty, without its header, where no interface ever had an address.
    """
    header, *lines = text.split("\n")
    if text and not header.startswith("Iface"):
        raise ValueError("it has no header")
    return any(_leads_by_ipv4(line.split()) for line in lines if line.strip())


def _leads_by_ipv4(fields: list[str]) -> bool:
    if len(fields) < 4:
        raise ValueError(f"no route: {fields}")
    flags = int(fields[3], 16)
    return flags & (_UP | _REJECT) == _UP and fields[0] not in _NOWHERE and not fields[1].endswith(_IPV4_LINK_LOCAL)


def has_ipv6_route(text: str) -> bool:
    """Tell whether /proc/net/ipv6_route leads anywhere. Raises ``ValueError`` for another format.

    The machine's own addresses stand there as well, and routes that every interface has.
    """
    return any(_leads_by_ipv6(line.split()) for line in text.split("\n") if line.strip())


def _leads_by_ipv6(fields: list[str]) -> bool:
    if len(fields) != 10:
        raise ValueError(f"no route: {fields}")
    flags = int(fields[8], 16)
    leads = flags & (_UP | _REJECT | _ANYCAST | _LOCAL) == _UP
    return leads and fields[9] not in _NOWHERE and not fields[0].startswith(_IPV6_NOT_OUTSIDE)


def proxies(env: Mapping[str, str]) -> dict[str, str]:
    """Map ``http``, ``https`` and ``all`` to the proxies' addresses, without logins."""
    named = {scheme: proxy_without_login(proxy_variable(env, f"{scheme}_proxy") or "") for scheme in SCHEMES}
    return {scheme: address for scheme, address in named.items() if address}


def no_proxy(env: Mapping[str, str]) -> str | None:
    """Return the hosts that are reached without a proxy, as they are listed."""
    return proxy_variable(env, "no_proxy")
