"""Addresses as ``OLLAMA_HOST`` writes them: read as the official package reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ollama._client import _parse_host

from provision.errors import UsageError
from provision.inference.host import base_url, with_host

HOSTS = ["", "1.2.3.4", "example.com", "localhost", "[::1]", "[2001:db8::1]", "EXAMPLE.com"]
CASES = [
    scheme + host + port + path
    for scheme in ("", "http://", "https://")
    for host in HOSTS
    for port in ("", ":8080")
    for path in ("", "/", "/path", "/path/v1/")
    if scheme + host + port + path not in ("http://", "https://") and (host or not scheme)
]


@pytest.mark.parametrize("text", CASES)
def test_it_is_read_as_the_official_package_reads_it(text: str) -> None:
    assert base_url(text) == _parse_host(text)


@given(st.sampled_from(["", "http://", "https://"]), st.ip_addresses(v=4).map(str), st.integers(1, 65535))
def test_any_address_and_port(scheme: str, host: str, port: int) -> None:
    if host != "0.0.0.0":  # noqa: S104
        assert base_url(f"{scheme}{host}:{port}") == _parse_host(f"{scheme}{host}:{port}")


@pytest.mark.parametrize(
    ("listens", "asked"),
    [("0.0.0.0", "http://127.0.0.1:11434"), ("[::]:80", "http://[::1]:80")],  # noqa: S104
)
def test_what_a_server_listens_on_for_all_networks_is_asked_on_this_machine(listens: str, asked: str) -> None:
    assert base_url(listens) == asked


@pytest.mark.parametrize("text", ["127.0.0.1:99999", "[::1", "host:port"])
def test_what_is_no_address_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="not an address"):
        base_url(text)


def test_a_login_stays_recognisable_and_is_not_repeated() -> None:
    assert base_url("http://user:secret@example.com") == "http://@example.com:80"


def test_the_variable_counts_where_the_address_is_not_set() -> None:
    env = {"OLLAMA_HOST": "10.0.0.1:1"}
    assert with_host(env, "BASE") == {**env, "BASE": "http://10.0.0.1:1"}
    assert with_host({**env, "BASE": " "}, "BASE")["BASE"] == "http://10.0.0.1:1"
    assert with_host({**env, "BASE": "http://x"}, "BASE")["BASE"] == "http://x"
    assert with_host({}, "BASE") == {}
