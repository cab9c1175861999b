from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.web_address import is_loopback, is_this_machine, why_unsafe, without_login


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("https://user:word@host:8443/a/b?c=d#e", "https://host:8443/a/b?c=d#e"),
        ("https://token@host/x", "https://host/x"),
        ("https://host/@scope/pkg", "https://host/@scope/pkg"),
        ("https://host?mail=me@there", "https://host?mail=me@there"),
        ("http://user:w@rd@host/", "http://host/"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
        ("user:word@host:3128", "host:3128"),
        ("host:3128", "host:3128"),
        ("", ""),
    ],
)
def test_an_address_without_its_login(url: str, bare: str) -> None:
    assert without_login(url) == bare


words = st.text(alphabet="abc.-", max_size=5)


@given(words, words, words, st.text(alphabet="abc/@?#:", max_size=8))
def test_a_url_keeps_all_but_the_login(user: str, word: str, host: str, tail: str) -> None:
    before = urlsplit(f"https://{user}:{word}@{host}/{tail}")
    after = urlsplit(without_login(before.geturl()))
    assert (after.username, after.password) == (None, None)
    assert after.netloc == host
    assert (after.path, after.query, after.fragment) == (before.path, before.query, before.fragment)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.2", "127.8.9.1", "127.1", "2130706433", "0x7f000001", "017700000001"),
        *("localhost", "LOCALHOST.", "::1", "[::1]", "::ffff:127.0.0.2"),
    ],
)
def test_loopback_is_this_machine_in_every_spelling(host: str) -> None:
    assert is_loopback(host)
    assert is_this_machine(host)


@pytest.mark.parametrize("host", ["x.localhost", "0.0", "0", "::", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"])
def test_what_may_lead_to_this_machine_is_not_trusted_like_loopback(host: str) -> None:
    assert is_this_machine(host)
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "example.org", "notlocalhost", "127.0.0.1.example.org", "128.0.0.1", "fd00::1", "beef"]
)
def test_other_hosts_are_elsewhere(host: str) -> None:
    assert not is_loopback(host)
    assert not is_this_machine(host)
    assert why_unsafe(host) is None


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        *((host, "the metadata service of a cloud") for host in ("169.254.169.254", "2852039166", "192.0.0.192")),
        *((host, "the metadata service of a cloud") for host in ("fd20:ce::254", "[FD00:EC2::254]", "100.100.100.200")),
        *((host, "the metadata service of a cloud") for host in ("metadata.google.internal", "Metadata.")),
        *((host, "link-local") for host in ("169.254.0.1", "fe80::1%eth0", "febf::1")),
        *((host, "multicast") for host in ("224.0.0.1", "ff02::1")),
        *((host, "unspecified") for host in ("0.0", "0", "::", "0.1.2.3")),
        ("255.255.255.255", "reserved"),
    ],
)
def test_some_hosts_are_never_asked(host: str, reason: str) -> None:
    assert why_unsafe(host) == reason


@pytest.mark.parametrize(
    "around", ["::ffff:169.254.169.254", "::169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"]
)
def test_an_address_around_another_is_judged_by_both(around: str) -> None:
    assert why_unsafe(around) == "the metadata service of a cloud"
    assert why_unsafe("64:ff9b::10.0.0.1") is None
