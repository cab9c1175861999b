"""Which certificates are trusted: pip's, those that the usual variables name, else this system's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # the first is what OpenSSL and uv read


def certificates_named(env: Mapping[str, str], certificate: str | None = None) -> tuple[str, str | None]:
    """Return who says which certificates are trusted, and the file or directory with them, ``None`` for the system's.

    That is ``certificate`` where one is given, else the first variable that is set.
    """
    named = {"pip's setting": certificate, **{name: env.get(name) for name in VARIABLES}}
    return next(((source, path) for source, path in named.items() if path), ("this system", None))


def tls_context(env: Mapping[str, str], certificate: str | None = None) -> ssl.SSLContext:
    """Return what trusts ``certificates_named``: a file, or a directory as OpenSSL's ``rehash`` makes them.

    Raises ``OSError`` where it cannot be used.
    """
    import ssl

    source, path = certificates_named(env, certificate)
    try:
        if path is not None and os.path.isdir(path):
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except OSError as error:
        raise OSError(f"the certificates in {path} ({source}) cannot be used: {error.strerror or error}") from error
