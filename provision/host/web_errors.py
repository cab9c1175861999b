"""What went wrong on the way to a server, in a sentence, and never with a login or token in it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from provision.domain.visible import visible
from provision.errors import UnreachableError
from provision.host.address import redact
from provision.host.proxy import Proxy

RETRY_HINT = "Check the network, the proxy and the package index, then run the same command again."
PROXY_LOGIN_HINT = "Put the login into the proxy's address: HTTPS_PROXY=http://user:password@host:port"
_DNS_HINT = "Check the network and its name server, or name a mirror or a proxy."
_CERTIFICATE_HINT = (
    "Where a company's proxy or mirror has a certificate authority of its own, name its file in SSL_CERT_FILE; "
    "where the certificate is not valid yet or any more, check this machine's clock."
)
_PROXY_LOGIN = 407
_LOGIN_HINT = "It may need a login or a token, or accepting terms in a browser first."


class StatusError(UnreachableError):
    """A server answers, but not with what was asked for; ``status`` is the number of HTTP.

    ``headers`` are those of the answer, their names in lower case.
    """

    def __init__(
        self,
        status: int,
        reason: str | None,
        url: str,
        proxy: Proxy | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in (headers or {}).items()}
        if status == _PROXY_LOGIN and proxy:
            super().__init__(_wants_login(proxy), PROXY_LOGIN_HINT)
            return
        hint = _LOGIN_HINT if status in (401, 403) else RETRY_HINT
        said = visible(reason or "", kept="")[:80]
        super().__init__(f"{redact(url)} answers {f'{status} {said}'.strip()}.", hint)


def passes(error: Exception) -> bool:
    """Tell whether it may go better in a moment: not where a name or a certificate is wrong, or a proxy refuses."""
    from urllib3 import exceptions

    lasting = (exceptions.NameResolutionError, exceptions.SSLError, exceptions.LocationValueError)
    root = _root(error)
    return not isinstance(root, lasting) and not _tunnel_status(root)


def explained_failure(error: Exception, url: str, proxy: Proxy | None) -> UnreachableError:
    """Return the error of the contract for what urllib3 raised."""
    from urllib3 import exceptions

    root = _root(error)
    place = f"the proxy {proxy.url}" if proxy else redact(url)
    if isinstance(root, exceptions.SSLError):
        return UnreachableError(f"Cannot reach {redact(url)} safely: {_certificate(root)}.", _CERTIFICATE_HINT)
    if isinstance(root, exceptions.NameResolutionError):
        return UnreachableError(f"Cannot reach {place}: its name is not known here (DNS).", _DNS_HINT)
    status = _tunnel_status(root)
    if proxy and status.startswith(str(_PROXY_LOGIN)):
        return UnreachableError(_wants_login(proxy), PROXY_LOGIN_HINT)
    if proxy and status:
        return UnreachableError(f"The proxy {proxy.url} does not let us to {redact(url)}: {status}.")
    return UnreachableError(f"Cannot reach {place}: {why(root)}.", RETRY_HINT)


def why(error: object) -> str:
    """Return a few words for a failure of the line, without objects and addresses in them."""
    from http.client import IncompleteRead

    from urllib3 import exceptions

    if isinstance(error, exceptions.ConnectTimeoutError) and not isinstance(error, exceptions.NewConnectionError):
        return "no connection came about in time"
    if isinstance(error, (exceptions.ReadTimeoutError, TimeoutError)):
        return "it fell silent"
    if isinstance(error, exceptions.NewConnectionError):
        return _words(error.__cause__, "no connection")
    inner = next((part for part in getattr(error, "args", ()) if isinstance(part, Exception)), error)
    if isinstance(inner, (exceptions.IncompleteRead, IncompleteRead)):
        return "the connection ended too early"
    return _words(inner, "the connection broke")


def _words(error: object, otherwise: str) -> str:
    """Return the operating system's words, where it has some."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return otherwise


def _root(error: Exception) -> Exception:
    """Return what a proxy's error or a last attempt wraps."""
    from urllib3 import exceptions

    inner = getattr(error, "original_error", None) if isinstance(error, exceptions.ProxyError) else None
    return inner if isinstance(inner, Exception) else error


def _certificate(error: Exception) -> str:
    """Return what is wrong with a certificate, or with the handshake."""
    reason = next((part for part in error.args if isinstance(part, Exception)), error.__cause__)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({reason.verify_message})"
    if isinstance(reason, ssl.SSLError) and reason.reason:
        return f"no encrypted connection came about ({reason.reason.replace('_', ' ').lower()})"
    return "no encrypted connection came about"


def _tunnel_status(root: Exception) -> str:
    """Return what a proxy answered instead of opening a tunnel, such as ``403 Forbidden``; empty where it did not."""
    return str(root).partition("Tunnel connection failed: ")[2].strip("'\")")


def _wants_login(proxy: Proxy) -> str:
    return f"The proxy {proxy.url} wants a login ({_PROXY_LOGIN})."
