from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.host.capture import Capture
from provision.host.capture_files import encode
from provision.host.machine import MAX_READ_BYTES, Access, CommandResult, Platform
from provision.host.redaction import Identity, Redactor

ALICE = Identity(users=("alicex",), homes=("/home/alicex",), hosts=("pelican7.corp.acme-widgets.example",))
WORD = st.from_regex(r"[a-z]{4,9}[0-9]{2}", fullmatch=True)
SECRETS = st.fixed_dictionaries(
    {
        "user": WORD.map(lambda word: f"u{word}"),
        "host": WORD.map(lambda word: f"h{word}"),
        "token": st.from_regex(r"[A-Za-z0-9]{4}[A-Za-z0-9_!$.-]{8,40}[a-z][0-9]", fullmatch=True),
        "password": st.from_regex(r"Pw[A-Za-z0-9!:/]{6,12}", fullmatch=True),
        "uuid": st.uuids(version=4).map(str),
        "address": st.ip_addresses(v=4, network="10.0.0.0/8").map(str),
        "address6": st.ip_addresses(v=6, network="fd00::/8").map(str),
        "mac": st.from_regex(r"(?:3c:7c:3f)(?::[0-9a-f]{2}){3}", fullmatch=True),
        "container": st.from_regex(r"[a-f][0-9a-f]{61}[a-f][0-9]", fullmatch=True),
    }
)
AROUND = st.sampled_from(["{}", " {} ", "x\n{}\n", "key: {},", '"{}"', "<{}>", "({})", "\t{}\0", "={};", "é {} \ufffd"])


def planted(secrets: Mapping[str, str], around: str) -> str:
    told = [*(value for name, value in secrets.items() if name != "password")]
    told += [f"/home/{secrets['user']}/x", f"GPU-{secrets['uuid']}", f"{secrets['host']}.local"]
    told += [f"http://{secrets['user']}:{secrets['password']}@{secrets['host']}:80/"]
    return " | ".join(around.format(value) for value in told)


@settings(max_examples=150)
@given(SECRETS, AROUND)
def test_no_planted_secret_survives(secrets: dict[str, str], around: str) -> None:
    text, user = planted(secrets, around), secrets["user"]
    identity = Identity((user,), (f"/home/{user}",), (secrets["host"],), secrets=(secrets["token"],))
    place = f"/srv/{user}/{secrets['uuid']}/{secrets['container']}"
    capture = Capture(
        Platform("Linux", "x86_64", f"6.1.0-{user}"),
        prefix=f"/home/{user}/fabric",
        texts={f"{place}/file": text, "/proc/self/cgroup": f"0::/docker/{secrets['container'][:12]}\n{text}"},
        listings={place: ("file", user, secrets["host"])},
        exists={f"{place}/there": True, f"{place}/not": False},
        links={f"{place}/link": user},
        access={f"{place}/node": Access(allowed=True, group=user)},
        commands={("tool", place): CommandResult(0, text, text)},
        env={"USER": user, "A_TOKEN": secrets["password"], "WORDS": text},
    )
    written = encode(capture.redacted(Redactor(identity)))
    everything = "\n".join([*written, *(data.decode("utf-8", "replace") for data in written.values())])
    assert {name: value for name, value in secrets.items() if value.lower() in everything.lower()} == {}


@given(SECRETS, AROUND)
def test_redacting_twice_changes_nothing(secrets: dict[str, str], around: str) -> None:
    text, user = planted(secrets, around), secrets["user"]
    identity = Identity((user,), (f"/home/{user}",), (secrets["host"],), secrets=(secrets["token"],))
    once = Redactor(identity).file("/proc/self/cgroup", text)
    assert Redactor(identity).file("/proc/self/cgroup", once) == once
    assert Redactor(Identity()).path(once) == once


@given(
    st.text(), st.sampled_from(["/proc/self/mountinfo", "/proc/net/route", "/proc/1/environ", "/etc/x", "/x/serial"])
)
def test_any_text_can_be_redacted(text: str, path: str) -> None:
    redactor = Redactor(ALICE)
    assert isinstance(redactor.file(path, text), str)
    assert isinstance(redactor.value("http_proxy", text), str)
    learnt = Identity().learnt({"http_proxy": text, "no_proxy": text, "X_TOKEN": text})
    assert isinstance(Redactor(learnt).answer(text), str)


@pytest.mark.parametrize(
    "unit", ["/", "://", ";", ";key", '"serial', " - ", "serial", "::", "0", "f", "token", "-", "<"]
)
def test_no_text_takes_long(unit: str) -> None:
    text = unit * (MAX_READ_BYTES // len(unit) // 4)
    started = time.process_time()
    Redactor(ALICE).file("/proc/self/mountinfo", text)
    assert time.process_time() - started < 5


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_a_document_keeps_its_shape(document: Any) -> None:
    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shape(inner) for key, inner in value.items()}
        return [shape(inner) for inner in value] if isinstance(value, list) else type(value)

    assert shape(Redactor(ALICE).document(document)) == shape(document)
