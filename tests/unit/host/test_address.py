from __future__ import annotations

import pytest

from provision.errors import RefusedError
from provision.host.address import check, check_peer, follow, origin, redact

METADATA = [
    "169.254.169.254",
    "169.254.0.1",
    "2852039166",
    "0xa9fea9fe",
    "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.254.169.254.",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[febf::1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[fd00:ec2::254]",
    "100.100.100.200",
    "192.0.0.192",
    "[fd20:ce::254]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::1]",
    "[::169.254.169.254]",
    "metadata.google.internal",
    "224.0.0.1",
    "0.0.0.0",  # noqa: S104 - no address to be asked
    "0",
    "[::]",
]
THIS_MACHINE = [
    "127.0.0.1",
    "127.8.9.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "017700000001",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "localhost",
    "LOCALHOST.",
    "x.localhost",
]


@pytest.mark.fault("bad-redirect")
@pytest.mark.parametrize("host", METADATA)
def test_18_a_metadata_address_is_never_asked_however_it_is_spelled(host: str) -> None:
    for url in (f"https://{host}/latest", f"https://user@{host}:443/"):
        with pytest.raises(RefusedError, match="Will not ask"):
            check(url, ())
        with pytest.raises(RefusedError, match="redirects elsewhere"):
            follow("https://example.org/f", url, ())
    with pytest.raises(RefusedError):
        check(f"http://{host}/latest", (host.strip("[]"),))


@pytest.mark.fault("bad-redirect")
@pytest.mark.parametrize("host", THIS_MACHINE)
@pytest.mark.parametrize("port", ["", ":22", ":8080"])
def test_18_only_this_machine_may_send_us_to_this_machine(host: str, port: str) -> None:
    target = f"https://{host}{port}/f"
    with pytest.raises(RefusedError, match="redirects to this machine"):
        follow("https://example.org/f", target, ())
    assert follow("http://127.0.0.1:80/f", target, ()) == target


def test_a_trusted_host_may_be_one_port_of_it() -> None:
    check("http://mirror.lan:8080/f", ("mirror.lan:8080",))
    check("http://mirror.lan:8080/f", ("mirror.lan",))
    for url in ("http://mirror.lan/f", "http://mirror.lan:80/f"):
        with pytest.raises(RefusedError, match="only https is trusted"):
            check(url, ("mirror.lan:8080",))


@pytest.mark.fault("bad-redirect")
@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://example.org/f",
        "gopher://example.org/f",
        "data:text/plain,x",
        "http://example.org/f",
        "http://[bad/f",
        "https://example.org:port/f",
        "https://example.org:99999/f",
        "https://example.org\\@127.0.0.1/f",
        "https://example.org/a b\n",
        "https://example.org/\x00",
        "//169.254.169.254/f",
    ],
)
def test_18_a_redirect_to_what_is_not_trusted_is_refused(location: str) -> None:
    with pytest.raises(RefusedError):
        follow("https://example.org/f", location, ())


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/g", "https://example.org/g"),
        ("g?x=1", "https://example.org/a/g?x=1"),
        ("//cdn.example.org/g", "https://cdn.example.org/g"),
        ("https://u:p@cdn.example.org/g", "https://cdn.example.org/g"),
        ("http://mirror.lan/g", "http://mirror.lan/g"),
        ("https://10.1.2.3/g", "https://10.1.2.3/g"),
    ],
)
def test_other_redirects_are_followed_without_a_login_in_them(location: str, target: str) -> None:
    assert follow("https://example.org/a/f", location, ("mirror.lan",)) == target


@pytest.mark.fault("dns-gone")
@pytest.mark.parametrize(
    ("peer", "may_be_here", "is_refused"),
    [
        ("169.254.169.254", True, True),
        ("fe80::1%eth0", True, True),
        ("::ffff:169.254.169.254", False, True),
        ("64:ff9b::a9fe:a9fe", True, True),
        ("224.0.0.1", True, True),
        ("::127.0.0.1", False, True),
        ("127.0.0.1", False, True),
        ("::ffff:127.0.0.1", False, True),
        ("127.0.0.1", True, False),
        ("10.0.0.1", False, False),
        ("2001:db8::1", False, False),
        ("192.168.1.1", False, False),
    ],
)
def test_19_the_address_that_was_reached_is_looked_at(peer: str, may_be_here: bool, is_refused: bool) -> None:
    if is_refused:
        with pytest.raises(RefusedError, match="Nothing was sent"):
            check_peer(peer, "https://example.org/f?t=hush", may_be_this_machine=may_be_here)
    else:
        check_peer(peer, "https://example.org/f", may_be_this_machine=may_be_here)


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin("https://Example.org/a") == origin("https://u:p@example.org:443/b?c")
    for other in ("http://example.org/a", "https://example.org:444/a", "https://sub.example.org/a"):
        assert origin(other) != origin("https://example.org/a")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@h:1/x?t=s#f", "https://h:1/x"),
        ("http://[::1]:8/x", "http://[::1]:8/x"),
        ("http://[bad", "an address that cannot be read"),
        ("https://h:port/x", "an address that cannot be read"),
    ],
)
def test_what_is_shown_of_an_address(url: str, shown: str) -> None:
    assert redact(url) == shown
