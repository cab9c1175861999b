from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.host.proxy import Proxy, proxy_for, proxy_without_login
from provision.host.transport import Transport

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
        ("https", {"https_proxy": "https://proxy.corp"}, 443),
        ("https", {"https_proxy": "http://low:1", "HTTPS_PROXY": "http://up:2"}, 1),
        ("http", {**CORPORATE, "REQUEST_METHOD": "GET"}, None),
        ("https", {}, None),
    ],
)
def test_the_usual_variables_name_it(scheme: str, env: dict[str, str], port: int | None) -> None:
    found = proxy_for(scheme, "api.example.com", env)
    assert (found.port if found else None) == port
    assert Transport(env).proxy(f"{scheme}://api.example.com/f") == found


@pytest.mark.parametrize(
    ("host", "listed"),
    [
        *(("127.0.0.1", ""), ("127.0.0.2", ""), ("localhost", ""), ("::1", ""), ("api.example.com", "*")),
        *(
            ("api.example.com", "example.com"),
            ("api.example.com", "a.b, .Example.com"),
            ("api.example.com", "*.example.com"),
        ),
        *(
            ("10.1.2.3", "10.0.0.0/8"),
            ("fd12::1", "fd00::/8"),
            ("10.1.2.3", "10.1.2.3:8000"),
            ("10.1.2.3", "a.example 10.1.2.3"),
            ("fd12::1", "[fd12::1]"),
        ),
    ],
)
def test_exceptions_and_this_machine_are_reached_without(host: str, listed: str) -> None:
    env = {**CORPORATE, "NO_PROXY": listed}
    assert proxy_for("https", host, env) is None
    assert Transport(env).proxy(f"https://{f'[{host}]' if ':' in host else host}/f") is None


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


@pytest.mark.parametrize("address", ["socks5://alice:secret@proxy:1080", "ftp://alice:secret@proxy:21", "http://x:y"])
def test_one_that_speaks_something_else_is_named_without_its_login(address: str) -> None:
    with pytest.raises(OSError, match="none that can be used") as caught:
        proxy_for("https", "api.example.com", {"https_proxy": address})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("proxy", "url"), [(Proxy("p", 1), "http://p:1"), (Proxy("::1", 2, "x", "https"), "https://[::1]:2")]
)
def test_its_address_is_shown_without_the_login(proxy: Proxy, url: str) -> None:
    assert proxy.url == url


@pytest.mark.parametrize(
    ("address", "bare"),
    [
        ("http://proxy:3128", "http://proxy:3128"),
        ("http://proxy:3128/", "http://proxy:3128"),
        (" http://user:word@proxy:3128 ", "http://proxy:3128"),
        ("user:word@proxy:3128", "proxy:3128"),
        ("proxy:3128", "proxy:3128"),
        ("socks5h://user:word@proxy:1080", "socks5h://proxy:1080"),
        ("http://user:w/o#r?d@proxy:3128/", "http://proxy:3128"),
        ("http://user:w@rd@proxy:3128", "http://proxy:3128"),
        ("user:w://rd@proxy:3128", "proxy:3128"),
        ("user://word@proxy:3128", "proxy:3128"),
        ("HTTP://user:word@proxy:3128", "HTTP://proxy:3128"),
        ("http://user:http://word@proxy:3128", "http://proxy:3128"),
        ("http://[fd00::1]:3128", "http://[fd00::1]:3128"),
        ("http://user:word@", ""),
        ("", ""),
    ],
)
def test_a_proxy_without_its_login(address: str, bare: str) -> None:
    assert proxy_without_login(address) == bare


secrets = st.text(alphabet="S:/?#@ \\", min_size=1)


@given(secrets, secrets, st.sampled_from(["", "http://", "socks5://"]), st.sampled_from(["", "/", "/path"]))
def test_no_part_of_a_proxy_s_login_is_left(user: str, word: str, scheme: str, tail: str) -> None:
    assert proxy_without_login(f"{scheme}{user}:{word}@proxy:3128{tail}") in ("proxy:3128", f"{scheme}proxy:3128")
