from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.host.url import proxy_without_login, without_login


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


words = st.text(alphabet="abc.-", max_size=5)


@given(words, words, words, st.text(alphabet="abc/@?#:", max_size=8))
def test_a_url_keeps_all_but_the_login(user: str, word: str, host: str, tail: str) -> None:
    before = urlsplit(f"https://{user}:{word}@{host}/{tail}")
    after = urlsplit(without_login(before.geturl()))
    assert (after.username, after.password) == (None, None)
    assert after.netloc == host
    assert (after.path, after.query, after.fragment) == (before.path, before.query, before.fragment)
