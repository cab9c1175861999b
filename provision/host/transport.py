"""How the network is reached: certificates, proxies, patience."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, TypeVar

from provision.domain.frozen import frozen
from provision.domain.web_address import is_this_machine
from provision.errors import InterruptedByUserError, UnreachableError
from provision.host.address import check, check_peer, follow, is_trusted, redact, split
from provision.host.certificates import VARIABLES as CERTIFICATE_VARIABLES
from provision.host.certificates import certificates_named, tls_context
from provision.host.proxy import Proxy, proxy_for

if TYPE_CHECKING:
    import socket
    import ssl

    import urllib3

POLL_S = 0.1
CONNECTIONS = 16  # that are kept open to one host: an engine and a model arrive side by side, each by several threads
_CERTIFICATE_HINT = (
    f"Correct {', '.join(CERTIFICATE_VARIABLES[:-1])} or {CERTIFICATE_VARIABLES[-1]}, or pip's cert setting."
)
_PROXY_HINT = "Correct HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, or pip's proxy setting."

T = TypeVar("T")


@frozen
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


@frozen
class Transport:
    """How to reach the network: the certificate bundle, the proxies, and hosts trusted without encryption or one.

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
        proxy, named = self.proxy(url), certificates_named(self.env, self.certificate)
        own = redirected_by is None or is_this_machine(split(redirected_by).hostname or "")
        trusted = is_trusted(url, self.trusted_hosts)
        rules = (named, proxy, own, trusted, self.patience, self.stopped)  # the connections of others are not for this
        return self.pools.get(rules, lambda: self._new_pool(proxy, trusted=trusted, may_be_this_machine=own))

    def _new_pool(self, proxy: Proxy | None, *, trusted: bool, may_be_this_machine: bool) -> urllib3.PoolManager:
        import urllib3

        from provision.host.watched import Watch, watched_pools

        def look(connection: socket.socket, site: str) -> None:
            if not proxy:
                check_peer(str(connection.getpeername()[0]), site, may_be_this_machine=may_be_this_machine)

        plain: dict[str, Any] = {
            "ssl_context": self._context(any_certificate=trusted),
            "timeout": urllib3.Timeout(connect=self.patience.connect_timeout_s, read=self.patience.idle_timeout_s),
            "maxsize": CONNECTIONS,
        }
        if trusted:  # whoever trusts a host need not be told so at each request
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        manager = urllib3.PoolManager(**plain)
        if proxy:
            own = self._context(any_certificate=False)
            manager = urllib3.ProxyManager(proxy.url, proxy_headers=proxy.headers, proxy_ssl_context=own, **plain)
        manager.pool_classes_by_scheme = watched_pools(Watch(look, self.patience.answer_timeout_s, self.stopped))
        return manager

    def proxy(self, url: str) -> Proxy | None:
        """Return the proxy for ``url`` by the usual variables; loopback never goes through one.

        Raises ``UnreachableError`` for one that is of no use.
        """
        parts = split(url)
        try:
            return proxy_for(parts.scheme, parts.hostname or "", self.env)
        except OSError as error:
            raise UnreachableError(f"Cannot reach {redact(url)}: {error}.", _PROXY_HINT) from error

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

    def _context(self, *, any_certificate: bool) -> ssl.SSLContext:
        """Return what is trusted, made once: reading all certificates of a system takes a while."""
        key = (any_certificate, certificates_named(self.env, self.certificate))
        return self.pools.get(key, lambda: self._new_context(any_certificate=any_certificate))

    def _new_context(self, *, any_certificate: bool) -> ssl.SSLContext:
        import ssl

        from provision.host.watched import CuttableSocket

        try:
            context = tls_context(self.env, self.certificate)
        except OSError as error:
            raise UnreachableError(f"Nothing can be reached safely: {error}.", _CERTIFICATE_HINT) from error
        context.sslsocket_class = CuttableSocket
        if any_certificate:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
