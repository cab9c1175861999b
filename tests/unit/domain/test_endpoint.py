"""The one form of an address, and the addresses that nothing is sent to."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.endpoint import is_private, normalize
from provision.domain.web_address import why_unsafe
from provision.errors import FabricError, RefusedError, UsageError

ONE_FORM = [
    ("http://127.0.0.1:11434", "http://127.0.0.1:11434/v1"),
    ("http://127.0.0.1:11434/", "http://127.0.0.1:11434/v1"),
    ("http://127.0.0.1:11434/v1/", "http://127.0.0.1:11434/v1"),
    ("http://127.0.0.1:11434//v1//v1///", "http://127.0.0.1:11434/v1"),
    ("HTTP://LocalHost:80/V1x", "http://localhost/V1x/v1"),
    ("https://api.example.com:443/v1", "https://api.example.com/v1"),
    ("http://api.example.com:443", "http://api.example.com:443/v1"),
    ("https://api.example.com:/v1", "https://api.example.com/v1"),
    ("https://API.Example.com./api/openai/v1", "https://api.example.com/api/openai/v1"),
    ("https://example.com/openai", "https://example.com/openai/v1"),
    ("https://example.com/v1/openai/", "https://example.com/v1/openai/v1"),
    ("https://example.com/a b".replace(" ", "%20"), "https://example.com/a%20b/v1"),
    ("https://example.com/größe", "https://example.com/gr%C3%B6%C3%9Fe/v1"),
    ("https://Bücher.example/v1", "https://xn--bcher-kva.example/v1"),
    ("https://ｅｘａｍｐｌｅ。com/v1", "https://example.com/v1"),
    ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
    ("http://[0:0:0:0:0:0:0:1]", "http://[::1]/v1"),
    ("http://[FD12::1]:80/v1", "http://[fd12::1]/v1"),
    ("http://[::ffff:127.0.0.1]:1234/v1", "http://127.0.0.1:1234/v1"),
    ("http://2130706433:8080", "http://127.0.0.1:8080/v1"),
    ("http://0x7f.1", "http://127.0.0.1/v1"),
    ("http://0300.0250.1.7", "http://192.168.1.7/v1"),
    ("http://gpu_box:8000", "http://gpu_box:8000/v1"),
    ("  http://10.0.0.7:8000\n", "http://10.0.0.7:8000/v1"),
]


@pytest.mark.parametrize(("written", "one_form"), ONE_FORM)
def test_one_form_for_every_spelling(written: str, one_form: str) -> None:
    assert normalize(written) == one_form
    assert normalize(one_form) == one_form


REFUSED = [
    *("http://169.254.169.254/latest", "http://169.254.0.1:8000", "https://169.254.169.254."),
    *("http://2852039166/", "http://0xa9fea9fe", "http://0251.0376.0251.0376", "http://169.254.43518"),
    *("http://0xA9.254.0251.0xfe", "http://１６９.254.169.254", "http://169。254。169。254"),
    *("http://[::ffff:169.254.169.254]", "http://[::ffff:a9fe:a9fe]", "http://[::a9fe:a9fe]"),
    *(
        "http://[64:ff9b::a9fe:a9fe]",
        "http://[2002:a9fe:a9fe::1]",
        "http://[fd00:ec2::254]",
        "http://[FD00:0EC2::0254]",
    ),
    *("http://[fe80::1]:8000", "http://[fe80::1%25eth0]", "http://[febf::9]", "http://[ff02::1]", "http://[::]:8000"),
    *("http://0.0.0.0:8000", "http://0", "http://0.1.2.3", "http://224.0.0.1", "http://239.9.9.9"),
    *("http://255.255.255.255", "http://240.0.0.1", "http://[::ffff:0.0.0.0]", "http://100.100.100.200"),
    *(
        "http://metadata.google.internal/v1",
        "https://METADATA.google.internal.",
        "http://metadata",
        "http://168.63.129.16",
    ),
    *("http://ｍetadata.google.internal", "http://instance-data"),
]


@pytest.mark.parametrize("written", REFUSED)
def test_nothing_is_sent_to_where_no_model_server_is(written: str) -> None:
    with pytest.raises(RefusedError) as caught:
        normalize(written)
    assert caught.value.exit_code == 77
    assert caught.value.hint


NO_ADDRESS = [
    *(
        "",
        "   ",
        "localhost",
        "localhost:11434",
        "127.0.0.1:8000/v1",
        "//host/v1",
        "http://",
        "http:///v1",
        "http:host",
    ),
    *("ftp://host/v1", "file:///etc/passwd", "unix:///run/x.sock", "javascript:alert(1)", "ws://host"),
    *("http://host?x=1", "http://host/v1?", "http://host/v1#", "http://host/#top"),
    *("http://host:0", "http://host:65536", "http://host:-1", "http://host:٨٠", "http://host:8 0", "http://host:http"),
    *("http://[::1", "http://::1/v1", "http://[::1]x", "http://[127.0.0.1]", "http://[v1.x]", "http://1.2.3.4.5"),
    *(
        "http://256.1.1.1",
        "http://09.1.1.1",
        "http://example.0x",
        "http://a..b",
        "http://.a",
        "http://-a.b",
    ),
    *(
        "http://a-.b",
        "http://ho%73t",
        f"http://{'a' * 64}.com",
        f"http://{'a.' * 130}com",
        "http://xn--\x80",
        "http://exa*mple",
    ),
    *(
        "http://host/../v1",
        "http://host/a/%2E%2e/v1",
        "http://host/./v1",
        "http://ho st",
        "http://host\\x",
        "http://a\tb",
    ),
    *(
        "http://host/\r\nX-Evil: 1",
        "http://host/a b",
        f"http://host/{'a' * 3000}",
        "http://ho\u202est",
        "http://xn--a\xad-.de",
    ),
]


@pytest.mark.parametrize("written", NO_ADDRESS)
def test_what_is_no_address_is_called_so(written: str) -> None:
    with pytest.raises(UsageError) as caught:
        normalize(written)
    assert caught.value.exit_code == 64


WORD = st.from_regex(r"[A-Z]{3}[A-Za-z0-9]{9,20}", fullmatch=True)


@given(
    WORD,
    st.sampled_from(
        [
            *("http://user:{}@host/v1", "https://{}@host", "http://{}:x@169.254.169.254/", "user:{}@host"),
            *("http://user:{}@[::1]/", "http://user:{}/x@host/v1", "http://user:{}#@host", "http://user:{}?@host/"),
            *("http://user:{}", "http:user:{}@host", "http://host/v1?api_key={}", "http://user%3A{}%40host/v1"),
            *("http://user:{}\\@host", "http://[user:{}]/", "{}://host/v1", "http://a@{}@host", "ftp://u:{}@h/"),
        ]
    ),
    st.booleans(),
)
def test_no_message_repeats_a_password(secret: str, around: str, has_key: bool) -> None:
    with pytest.raises(FabricError) as caught:
        normalize(around.format(secret), has_key=has_key)
    assert secret.lower() not in f"{caught.value.message} {caught.value.hint}".lower()


@pytest.mark.parametrize("host", ["api.example.com", "8.8.8.8", "[2606:4700::1]", "172.32.0.1", "100.64.0.1", "ai.dev"])
def test_a_key_goes_to_the_outside_encrypted_only(host: str) -> None:
    with pytest.raises(RefusedError, match="without encryption"):
        normalize(f"http://{host}/v1", has_key=True)
    assert normalize(f"https://{host}/v1", has_key=True) == f"https://{host}/v1"
    assert normalize(f"http://{host}/v1") == f"http://{host}/v1"


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "[::1]", "10.1.2.3", "192.168.0.9", "172.31.255.1", "[fd12::1]", "gpu-box"),
        *("box.local", "box.lan", "x.home.arpa", "vllm.svc.internal", "a.localhost"),
    ],
)
def test_a_private_network_may_go_without(host: str) -> None:
    assert normalize(f"http://{host}:8000", has_key=True) == f"http://{host}:8000/v1"


@pytest.mark.parametrize("host", ["127.0.0.1.example.com", "local", "internal", "box.locale", "2002:7f00:1::"])
def test_what_only_looks_private(host: str) -> None:
    assert is_private(host) is (host in ("local", "internal"))


SAFE_HOSTS = st.sampled_from(["127.0.0.1", "Example.COM", "[::1]", "bücher.example", "0x7f000001", "a.b.c.", "10.1"])
SEGMENTS = st.lists(st.sampled_from(["v1", "api", "", "openai", "V1", "a%2Fb", "ü", "v1beta", "~x"]), max_size=8)


@given(
    st.sampled_from(["http", "https", "HTTPS"]),
    SAFE_HOSTS,
    st.sampled_from(["", ":80", ":443", ":8000", ":"]),
    SEGMENTS,
    st.booleans(),
)
def test_the_one_form_is_its_own_and_ends_in_one_version(
    scheme: str, host: str, port: str, segments: list[str], slash: bool
) -> None:
    once = normalize(f"{scheme}://{host}{port}{'/' if segments or slash else ''}{'/'.join(segments)}{'/' * slash}")
    assert normalize(once) == once
    assert re.fullmatch(r"https?://[a-z0-9.:\[\]-]+(/[^/]+)*/v1", once)
    assert not once.endswith("/v1/v1")
    parts = urlsplit(once)
    assert parts.port != {"http": 80, "https": 443}[parts.scheme]
    kept = [each for each in segments if each]
    while kept and kept[-1] == "v1":
        kept.pop()
    assert parts.path.count("/") == len(kept) + 1


@given(st.text(max_size=60) | st.text(max_size=30).map(lambda text: f"http://{text}") | st.from_regex(r"https?://.+"))
def test_any_text_is_an_address_in_its_one_form_or_an_error_of_ours(text: str) -> None:
    try:
        once = normalize(text)
    except FabricError:
        return
    assert normalize(once) == once
    assert once.isascii()
    assert once.isprintable()
    assert urlsplit(once).hostname


@given(st.ip_addresses(v=4))
def test_every_spelling_of_an_address_is_judged_alike(address: IPv4Address) -> None:
    number = int(address)
    parts = [number >> shift & 255 for shift in (24, 16, 8, 0)]
    spellings = [str(number), hex(number), f"0{number:o}", ".".join(map(hex, parts)), f"{parts[0]}.{number & 0xFFFFFF}"]
    spellings += [f"[::ffff:{address}]", f"{address}."]
    said = {judged(f"http://{spelling}/v1") for spelling in (str(address), *spellings)}
    assert len(said) == 1, said
    assert (said == {None}) is (why_unsafe(str(address)) is not None)


def judged(url: str) -> str | None:
    try:
        return normalize(url)
    except RefusedError:
        return None


@given(
    st.ip_addresses(network="169.254.0.0/16")
    | st.ip_addresses(network="fe80::/10")
    | st.ip_addresses(network="224.0.0.0/4")
)
def test_link_local_and_multicast_are_never_addressed(address: IPv4Address | IPv6Address) -> None:
    shown = f"[{address}]" if address.version == 6 else str(address)
    assert judged(f"https://{shown}/v1") is None


def test_an_address_that_stands_for_another_is_judged_by_both() -> None:
    assert why_unsafe("2002:a9fe:a9fe::") == "the metadata service of a cloud"
    assert why_unsafe("64:ff9b::10.0.0.1") is None
    assert why_unsafe("fe80::1%eth0") == "link-local"
    assert why_unsafe(str(ip_address("192.168.1.1"))) is None
