"""Which addresses may be asked at all, and through which proxy."""

from __future__ import annotations

import pytest

from provision.errors import RefusedError
from provision.host.transport import Transport


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://example.org/f", True),
        ("http://127.0.0.1:80/f", True),
        ("http://localhost/f", True),
        ("http://[::1]/f", True),
        ("http://mirror.lan/f", True),
        ("http://example.org/f", False),
        ("http://127.0.0.1.example.org/f", False),
        ("http://localhost@example.org/f", False),
        ("gopher://example.org/f", False),
    ],
)
def test_only_https_is_trusted_or_what_the_user_trusts(url: str, allowed: bool) -> None:
    transport = Transport({}, trusted_hosts=("mirror.lan",))
    if allowed:
        transport.check(url)
    else:
        with pytest.raises(RefusedError):
            transport.check(url)


@pytest.mark.parametrize(
    ("env", "url", "proxy"),
    [
        ({"https_proxy": "http://p:3128"}, "https://example.org/f", "http://p:3128"),
        ({"HTTPS_PROXY": "http://p:3128"}, "https://example.org/f", "http://p:3128"),
        ({"ALL_PROXY": "http://p:3128"}, "https://example.org/f", "http://p:3128"),
        ({"http_proxy": "http://p:3128"}, "https://example.org/f", None),
        ({"https_proxy": "http://p:3128", "no_proxy": "example.org"}, "https://example.org/f", None),
        ({"https_proxy": "http://p:3128", "NO_PROXY": ".org"}, "https://example.org/f", None),
        ({"https_proxy": "http://p:3128", "no_proxy": "*"}, "https://example.org/f", None),
        ({"http_proxy": "http://p:3128", "all_proxy": "http://p:3128"}, "http://127.0.0.1:5/f", None),
        ({"http_proxy": "http://p:3128"}, "http://localhost/f", None),
        ({"http_proxy": "http://p:3128"}, "http://mirror.lan/f", "http://p:3128"),
    ],
)
def test_the_proxy_that_the_environment_names(env: dict[str, str], url: str, proxy: str | None) -> None:
    assert Transport(env).proxy(url) == proxy
