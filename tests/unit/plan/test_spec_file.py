from __future__ import annotations

import contextlib
from dataclasses import fields

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from provision.domain.spec import Install, Spec
from provision.errors import InvalidInputError
from provision.plan.spec_file import MAX_BYTES, parse_spec


def errors_of(text: str | bytes) -> str:
    with pytest.raises(InvalidInputError) as told:
        parse_spec(text.encode() if isinstance(text, str) else text, "fabric.yaml")
    assert told.value.exit_code == 65
    assert "fabric.yaml" in told.value.message
    return told.value.message


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}"])
def test_nothing_said_is_everything_auto(text: str) -> None:
    assert parse_spec(text.encode(), "f") == Spec()


def test_what_is_said_is_what_is_meant() -> None:
    text = "version: 1\nmodel: smollm2-135m\ncontext: 2048\nparallel: 3\nport: 0\nrequire_gpu: true\nthreads: auto\n"
    spec = parse_spec(text.encode(), "f")
    assert spec == Spec(model="smollm2-135m", context=2048, parallel=3, port=0, require_gpu=True)


def test_how_to_install_can_be_said() -> None:
    text = "install:\n  sources: [build, wheel]\n  program: /opt/llama-server\n  mirrors: {github: 'https://m/gh'}\n"
    told = parse_spec(text.encode(), "f").install
    assert told == Install(("build", "wheel"), "/opt/llama-server", {"github": "https://m/gh"})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("backen: x", "line 1: unknown key 'backen'. Did you mean 'backend'?"),
        ("\n\nzzz: 1", "line 3: unknown key 'zzz'."),
        ("context: many", "line 1: context: expected `int"),
        ("context: 4.5", "line 1: context: expected `int"),
        ("context: true", "line 1: context"),
        ("parallel: auto", "line 1: parallel"),
        ("parallel:", "line 1: parallel"),
        ("model: 5", "line 1: model: expected `str"),
        ("require_gpu: 'yes'", "line 1: require_gpu"),
        ("port: [1, 2]", "line 1: port takes one value"),
        ("port: {a: 1}", "line 1: port takes one value"),
        ("install: 5", "line 1: install: expected"),
        ("install:\n  source: [wheel]", "line 2: unknown key 'source'. Did you mean 'sources'?"),
        ("install:\n  sources: wheel", "line 2: install.sources takes a list of names"),
        ("install:\n  sources: [[wheel]]", "line 2: install.sources takes a list of names"),
        ("install:\n  mirrors: [a]", "line 2: install.mirrors takes `name: address` lines"),
        ("install:\n  mirrors: {github: 5}", "line 2: install.mirrors: expected `str`"),
        ("install:\n  program: {}", "line 2: install.program takes one value"),
        ("port: 1\nport: 2", "line 2: port is given twice"),
        ("? [a, b]\n: 1", "line 1: unknown key"),
        ("<<: {port: 1}", "unknown key '<<'"),
        ("version: 2", "version 2 is not known"),
        ("- port", "line 1: expected `key: value` lines"),
        ("port", "line 1: expected `key: value` lines"),
        ("a: [", "line 1, column 5"),
        ("port: 1\n  model: x", "line 2"),
        ("port: 1\n---\nport: 2", "line 2"),
        ("port: *nobody", "line 1"),
        ("\tport: 1", "line 1"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, told: str) -> None:
    assert told in errors_of(text)


def test_all_mistakes_are_told_at_once() -> None:
    message = errors_of("backen: x\ncontext: many\nport: []\n")
    assert message.startswith("fabric.yaml has 3 errors:")
    assert [line.strip().split(":")[0] for line in message.splitlines()[1:]] == ["line 1", "line 2", "line 3"]


@pytest.mark.parametrize(
    "data",
    [
        b"port: \xff",
        b"port: \x00 1",
        b"x" * (MAX_BYTES + 1),
        b"[" * 60_000,
        b"{a: " * 15_000,
        b"a: &a [x,x]\n" + b"".join(b"%c: &%c [*%c,*%c]\n" % (c + 1, c + 1, c, c) for c in range(97, 110)),
        b"model: !!python/object/apply:os.system [id]",
        b"model: !!binary '***'",
        b"context: !!int ''",
        b"context: !!float ''",
        b"context: !!timestamp never",
        b"require_gpu: !!bool perhaps",
        b"context: 2001-13-45",
        b"context: " + b"9" * 5000,
        b"context: 0x",
        b"context: 1:99:99",
        "\N{LINE SEPARATOR}a: \N{NEXT LINE}".encode(),
    ],
    ids=range(17),
)
def test_what_is_hostile_is_refused_in_words(data: bytes) -> None:
    errors_of(data)


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert parse_spec(b"\xef\xbb\xbfport: 5", "f").port == 5


YAML_BITS = st.sampled_from(
    ["port", "model", "context", ": ", "\n", "- ", "[", "]", "{", "}", "&a ", "*a", "!!int ", "!!float ", "!!bool ",
     "!!timestamp ", "!!null ", "!!str ", "!!binary ", "!x ", "'", '"', "|", ">", "#", "~", "1", "-", ".", "0x", "_",
     "auto", "true", "? ", "<<", "%YAML 1.1\n", "---\n", "...\n", "\t", "\N{BOM}", "1e9", ".inf", ".nan", "é"]
)  # fmt: skip


@settings(max_examples=150)
@given(st.binary(max_size=200) | st.lists(YAML_BITS, max_size=12).map(lambda bits: "".join(bits).encode()))
@example(b"port: !!int ''")
@example(b"port: !!timestamp x")
@example(b"model: .inf")
def test_whatever_the_bytes_are_it_is_a_spec_or_a_refusal(data: bytes) -> None:
    with contextlib.suppress(InvalidInputError):
        assert isinstance(parse_spec(data, "f"), Spec)


def test_every_field_of_a_spec_can_be_said_in_the_file() -> None:
    for field in fields(Spec):
        assert parse_spec(f"{field.name}: {_example(field.name)}".encode(), "f") != Spec() or field.name == "version"


def _example(name: str) -> str:
    numbers = dict.fromkeys(("context", "parallel", "threads", "port", "keep_alive"), "7")
    words = {"version": "1", "require_gpu": "true", "linger": "true", "install": "{sources: [wheel]}"}
    return {**words, **numbers}.get(name, "x")
