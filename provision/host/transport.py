"""How the network is reached: certificates, proxies, patience."""

from __future__ import annotations

import math
import ssl
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from provision.errors import InterruptedByUserError, UnreachableError
from provision.host.address import LOOPBACK, check, check_peer, follow, is_this_machine, split
from provision.host.url import proxy_without_login, without_login

if TYPE_CHECKING:
    import socket

    import urllib3

CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
POLL_S = 0.1
CONNECTIONS = 16  # that are kept open to one host: an engine and a model arrive side by side, each by several threads

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    ``connections`` is how often it is tried where no answer comes, ``attempts`` where it answers that it is busy;
    between them ``backoff_s``, doubled every time, or what ``Retry-After`` says, up to ``max_wait_s``. A body may be
    silent for ``idle_timeout_s`` and has to bring ``min_bytes_per_s`` in every ``window_s``: so it takes at most its
    size divided by that rate, however slow the line. ``total_s`` is a limit besides, for what is small.
    """

    connect_timeout_s: float = 10.0
    idle_timeout_s: float = 30.0
    answer_timeout_s: float = 60.0
    connections: int = 3
    attempts: int = 5
    backoff_s: float = 0.5
    max_wait_s: float = 20.0
    window_s: float = 60.0
    min_bytes_per_s: int = 1024
    total_s: float = math.inf

    def backoff(self, attempt: int) -> float:
        """Return the seconds to wait after so many attempts (from one)."""
        return min(self.max_wait_s, self.backoff_s * float(1 << min(attempt - 1, 16)))


QUICK = Patience(
    connect_timeout_s=3.0, idle_timeout_s=5.0, answer_timeout_s=10.0, connections=2, attempts=2, max_wait_s=3.0,
    window_s=10.0, total_s=300.0,
)  # fmt: skip


def never() -> bool:
    """Nobody stops it."""
    return False


class Kept:
    """What is made once for each key, by whichever thread asks first."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._made: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what was made for ``key``, else make it."""
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
            made: T = self._made[key]
            return made


@dataclass(frozen=True)
class Transport:
    """How to reach the network: the certificate bundle, the proxies, and hosts allowed without encryption.

    ``stopped`` is asked now and then, and ends every wait and transfer. ``pools`` are connections that are kept for
    the next request, shared with every transport that is made of this one by ``replace``; for several threads.
    """

    env: Mapping[str, str]
    certificate: str | None = None
    trusted_hosts: tuple[str, ...] = ()
    patience: Patience = Patience()
    stopped: Callable[[], bool] = never
    pools: Kept = field(default_factory=Kept, repr=False, compare=False)

    def pool(self, url: str, *, redirected_by: str | None = None) -> urllib3.PoolManager:
        """Return a connection pool for ``url``, through the proxy that the environment names for it.

        ``redirected_by`` is the address that sent us here, if any: it cannot send us to our own machine.
        Raises ``UnreachableError`` where the certificate file or the proxy's address is of no use.
        """
        proxy, file = self.proxy(url), self._certificate_file()
        own = redirected_by is None or is_this_machine(split(redirected_by).hostname or "")
        rules = (file, proxy, own, self.patience, self.stopped)  # connections of other rules are not for this request
        return self.pools.get(rules, lambda: self._new_pool(proxy, file, may_be_this_machine=own))

    def _new_pool(self, proxy: str | None, file: str | None, *, may_be_this_machine: bool) -> urllib3.PoolManager:
        import urllib3

        from provision.host.watched import Watch, watched_pools

        def look(connection: socket.socket, site: str) -> None:
            if not proxy:
                check_peer(str(connection.getpeername()[0]), site, may_be_this_machine=may_be_this_machine)

        plain: dict[str, Any] = {
            "ssl_context": self.pools.get(file, lambda: _context(file)),
            "timeout": urllib3.Timeout(connect=self.patience.connect_timeout_s, read=self.patience.idle_timeout_s),
            "maxsize": CONNECTIONS,
        }
        manager = _through(proxy, plain) if proxy else urllib3.PoolManager(**plain)
        manager.pool_classes_by_scheme = watched_pools(Watch(look, self.patience.answer_timeout_s, self.stopped))
        return manager

    def proxy(self, url: str) -> str | None:
        """Return the proxy for ``url`` by the usual variables; loopback never goes through one."""
        from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # missing in the stubs

        parts = split(url)
        lower = {name.lower(): value for name, value in self.env.items() if name.lower().endswith("_proxy")}
        bypass = proxy_bypass_environment(parts.hostname or "", {"no": lower.get("no_proxy", "")})
        if parts.hostname in LOOPBACK or bypass:
            return None
        return lower.get(f"{parts.scheme}_proxy") or lower.get("all_proxy")

    def check(self, url: str) -> None:
        """Refuse what is neither https, nor http to this machine or a host that the user trusts."""
        check(url, self.trusted_hosts)

    def follow(self, url: str, location: str) -> str:
        """Return where a redirect leads. Raises ``RefusedError`` where it must not."""
        return follow(url, location, self.trusted_hosts)

    def wait(self, seconds: float) -> None:
        """Wait. Raises ``InterruptedByUserError`` where it is stopped meanwhile."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self.go_on()
            time.sleep(min(POLL_S, left))
        self.go_on()

    def go_on(self) -> None:
        """Raise ``InterruptedByUserError`` where it is stopped."""
        if self.stopped():
            raise InterruptedByUserError("Stopped.")

    def _certificate_file(self) -> str | None:
        named = (self.env.get(name) for name in CERTIFICATE_VARIABLES)
        return self.certificate or next(filter(None, named), None)


def _context(file: str | None) -> ssl.SSLContext:
    from provision.host.watched import CuttableSocket

    try:
        context = ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise UnreachableError(
            f"The certificates in {file} cannot be read: {error.strerror or error}.",
            "Correct SSL_CERT_FILE, or pip's cert setting.",
        ) from error
    context.sslsocket_class = CuttableSocket
    return context


def _through(proxy: str, settings: Mapping[str, Any]) -> urllib3.ProxyManager:
    import urllib3

    address = proxy if "://" in proxy else f"http://{proxy}"
    try:
        login = urlsplit(address)
        user = f"{unquote(login.username)}:{unquote(login.password or '')}" if login.username else None
        headers = urllib3.make_headers(proxy_basic_auth=user) if user else None
        return urllib3.ProxyManager(without_login(address), proxy_headers=headers, **settings)
    except (ValueError, AssertionError) as error:
        raise UnreachableError(
            f"The proxy {proxy_without_login(proxy)} cannot be used: only http and https proxies are spoken to.",
            "Correct HTTPS_PROXY, HTTP_PROXY or ALL_PROXY.",
        ) from error
