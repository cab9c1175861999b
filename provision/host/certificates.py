"""Which certificates are trusted: pip's, those that the usual variables name, else this system's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # the first is what OpenSSL and uv read


def tls_context(env: Mapping[str, str], certificate: str | None = None) -> ssl.SSLContext:
    """Return what is trusted: ``certificate`` where one is given, else what the first variable that is set names.

    Each is a file, or a directory as OpenSSL's ``rehash`` makes them. Raises ``OSError`` where it cannot be used.
    """
    import ssl

    named = {"pip's setting": certificate, **{name: env.get(name) for name in VARIABLES}}
    source, path = next(((source, path) for source, path in named.items() if path), ("this system", None))
    try:
        if path is not None and os.path.isdir(path):
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except OSError as error:
        raise OSError(f"the certificates in {path} ({source}) cannot be used: {error.strerror or error}") from error
