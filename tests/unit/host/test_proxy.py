from __future__ import annotations

import pytest

from provision.host.proxy import Proxy, proxy_for

CORPORATE = {"HTTPS_PROXY": "http://proxy.corp:3128", "HTTP_PROXY": "http://proxy.corp:8080"}


@pytest.mark.parametrize(
    ("scheme", "env", "port"),
    [
        ("https", CORPORATE, 3128),
        ("http", CORPORATE, 8080),
        ("https", {**CORPORATE, "https_proxy": ""}, None),
        ("https", {**CORPORATE, "https_proxy": "http://other:1"}, 1),
        ("https", {"ALL_PROXY": "http://proxy.corp:9"}, 9),
        ("https", {"https_proxy": "proxy.corp"}, 80),
        ("http", {**CORPORATE, "REQUEST_METHOD": "GET"}, None),
        ("https", {}, None),
    ],
)
def test_the_usual_variables_name_it(scheme: str, env: dict[str, str], port: int | None) -> None:
    found = proxy_for(scheme, "api.example.com", env)
    assert (found.port if found else None) == port


@pytest.mark.parametrize(
    ("host", "listed"),
    [
        *(("127.0.0.1", ""), ("localhost", ""), ("::1", ""), ("api.example.com", "*")),
        *(
            ("api.example.com", "example.com"),
            ("api.example.com", "a.b, .Example.com"),
            ("api.example.com", "*.example.com"),
        ),
        *(("10.1.2.3", "10.0.0.0/8"), ("fd12::1", "fd00::/8"), ("10.1.2.3", "10.1.2.3:8000"), ("fd12::1", "[fd12::1]")),
    ],
)
def test_exceptions_and_this_machine_are_reached_without(host: str, listed: str) -> None:
    assert proxy_for("https", host, {**CORPORATE, "NO_PROXY": listed}) is None


@pytest.mark.parametrize(
    ("host", "listed"),
    [
        *(("notexample.com", "example.com"), ("example.com.evil.org", "example.com"), ("11.1.2.3", "10.0.0.0/8")),
        *(("api.example.com", "10.0.0.0/8"), ("api.example.com", "not/a/network, ,.")),
    ],
)
def test_what_no_exception_names_goes_through_it(host: str, listed: str) -> None:
    assert proxy_for("https", host, {**CORPORATE, "no_proxy": listed}) == Proxy("proxy.corp", 3128)


def test_its_login_becomes_a_header() -> None:
    found = proxy_for("https", "api.example.com", {"https_proxy": "http://al%40ice:p%2Fw@proxy.corp:3128"})
    assert found is not None
    assert found.headers == {"Proxy-Authorization": "Basic YWxAaWNlOnAvdw=="}
    assert Proxy("x", 1).headers == {}


@pytest.mark.parametrize(
    "address", ["socks5://alice:secret@proxy:1080", "https://alice:secret@proxy:443", "http://x:y"]
)
def test_one_that_speaks_something_else_is_named_without_its_login(address: str) -> None:
    with pytest.raises(OSError, match="none that can be used") as caught:
        proxy_for("https", "api.example.com", {"https_proxy": address})
    assert "secret" not in str(caught.value)
