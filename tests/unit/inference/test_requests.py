"""Requests for OpenAI's API: what is in them, and what is not."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import ollama
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision import inference
from provision.client.options import UnsupportedOptionError
from provision.errors import UsageError
from provision.inference import calls
from provision.inference.documents import image_texts, message_documents
from provision.inference.requests import chat_options, conversation, embed_dimensions, is_text, seconds, text_fields
from provision.inference.turns import picture_type, turns
from provision.knowledge.routes import load_routes

ROWS = {row.name: row for row in load_routes().backends}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.none() | st.floats(0, 2),
        "num_predict": st.none() | st.integers(-2, 100),
        "num_ctx": st.none() | st.integers(1, 9999),
        "stop": st.none() | st.lists(st.text(), max_size=2),
        "top_k": st.none() | st.integers(1, 99),
    },
)


@pytest.mark.parametrize("form", [dict, ollama.Options, inference.Options])
def test_options_of_any_form_become_the_backends_fields_and_absent_ones_are_absent(form: Any) -> None:
    call = calls.chat("m", [], {"options": form(temperature=0.5, num_predict=7, stop=["x"], num_ctx=99, seed=None)})
    asked = chat_options(call.document or {}, ROWS["vllm"], strict=False)
    assert asked == {"extra": {"temperature": 0.5, "max_tokens": 7, "stop": ["x"]}}


@pytest.mark.parametrize("backend", ROWS)
@given(options=OPTIONS)
def test_nothing_that_was_not_said_is_sent(backend: str, options: dict[str, Any]) -> None:
    call = calls.chat("m", [], {"options": options, "think": None, "format": None, "tools": None, "keep_alive": None})
    asked = chat_options(call.document or {}, ROWS[backend], strict=False)
    assert asked.keys() == {"extra"}
    assert None not in (asked["extra"] or {}).values()


def test_a_format_is_json_or_a_schema() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "null", "default": None}}}
    for wanted, key, value in (
        ("json", "response_format", {"type": "json_object"}),
        (schema, "json_schema", schema),
    ):
        document = calls.chat("m", [], {"format": wanted}).document or {}
        assert chat_options(document, ROWS["vllm"], strict=True) == {"extra": {}, key: value}
    assert chat_options(calls.chat("m", [], {"format": ""}).document or {}, ROWS["vllm"], strict=True) == {"extra": {}}


@pytest.mark.parametrize(
    ("backend", "more", "name"),
    [
        ("vllm", {"options": {"num_ctx": 1}}, "num_ctx"),
        ("openai-compat", {"think": False}, "think"),
        ("llamacpp", {"keep_alive": "5m"}, "keep_alive"),
        ("lm_studio", {"keep_alive": -1}, "keep_alive"),
        ("vllm", {"template": "{{ .Prompt }}"}, "template"),
        ("vllm", {"context": [1, 2]}, "context"),
        ("vllm", {"width": 9}, "width"),
    ],
)
def test_what_a_backend_does_not_take_is_left_out_or_refused(backend: str, more: dict[str, Any], name: str) -> None:
    document = calls.generate("m", "p", None, more).document or {}
    assert chat_options(document, ROWS[backend], strict=False) == {"extra": {}}
    with pytest.raises(UnsupportedOptionError) as caught:
        chat_options(document, ROWS[backend], strict=True)
    assert caught.value.names == (name,)


def test_what_a_backend_takes_is_sent_by_its_own_name() -> None:
    document = calls.chat(
        "m", [], {"keep_alive": "1h30m", "think": False, "logprobs": True, "top_logprobs": 2}
    ).document
    asked = chat_options(document or {}, ROWS["lm_studio"], strict=False)
    assert asked == {"extra": {"ttl": 5400, "logprobs": True, "top_logprobs": 2}}
    asked = chat_options({"think": False}, ROWS["vllm"], strict=True)
    assert asked == {"extra": {"chat_template_kwargs": {"enable_thinking": False}}}


@pytest.mark.parametrize(
    ("keep_alive", "expected"),
    [
        (5, 5),
        (0, 0),
        (-1, -1),
        ("90", 90),
        ("5m", 300),
        ("1h2m3.5s", 3723.5),
        ("-1s", -1),
        ("100ms", 0.1),
        (".5s", 0.5),
    ],
)
def test_a_keep_alive_is_seconds_or_a_duration(keep_alive: float | str, expected: float) -> None:
    assert seconds(keep_alive) == pytest.approx(expected)


@pytest.mark.parametrize("keep_alive", ["", "soon", "5 minutes", "m", "1d", "nan", "inf"])
def test_anything_else_is_none(keep_alive: str) -> None:
    with pytest.raises(UsageError, match="no keep-alive"):
        seconds(keep_alive)


def test_a_prompt_becomes_a_conversation_or_stays_a_text() -> None:
    asked = calls.generate("m", "Hi", None, {"system": "Be brief."}).document or {}
    assert conversation(asked) == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert not is_text(asked)
    assert conversation(calls.generate("m", None, None, {}).document or {}) == []
    infill = calls.generate("m", "def f(", "return", {"options": {"num_predict": 3}}).document or {}
    assert is_text(infill)
    for backend in ("ollama", "openai-compat"):
        assert text_fields(infill, ROWS[backend], strict=True) == {"suffix": "return", "max_tokens": 3}
    for backend in ("vllm", "llamacpp", "lm_studio"):
        assert text_fields(infill, ROWS[backend], strict=False) == {"max_tokens": 3}
        with pytest.raises(UnsupportedOptionError, match="does not take 'suffix'"):
            text_fields(infill, ROWS[backend], strict=True)
    with pytest.raises(UnsupportedOptionError, match="system"):
        text_fields({"raw": True, "system": "x"}, ROWS["vllm"], strict=True)


def test_embeddings_take_dimensions_and_nothing_else() -> None:
    assert embed_dimensions({"dimensions": 4}, ROWS["vllm"], strict=True) == 4
    assert embed_dimensions({"truncate": True}, ROWS["vllm"], strict=False) is None
    with pytest.raises(UnsupportedOptionError, match="truncate"):
        embed_dimensions({"truncate": True}, ROWS["vllm"], strict=True)


@pytest.mark.parametrize("message", [inference.Message, dict])
def test_pictures_of_every_form_are_parts_of_the_turn(message: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    text = b64encode(PNG).decode()
    shown = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{text}"}}
    wanted: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "What?"}, shown]}]
    for picture in (PNG, text, str(path), path, ollama.Image(value=PNG), inference.Image(path)):
        assert turns(message_documents([message(role="user", content="What?", images=[picture])])) == wanted
    theirs = ollama.Message(role="user", content="What?", images=[ollama.Image(value=PNG)])
    assert turns(message_documents([theirs])) == wanted
    encoded: Any = ollama.Image(value=PNG).model_dump()
    assert image_texts([PNG]) == [encoded]


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"\xff\xd8\xff\xe0", "jpeg"), (b"GIF89a", "gif"), (b"RIFF", "webp"), (b"what", "png"), (b"", "png")],
)
def test_a_picture_is_told_by_how_it_begins(data: bytes, kind: str) -> None:
    assert picture_type(b64encode(data).decode()) == f"image/{kind}"


@pytest.mark.parametrize("picture", ["no-such-file.png", "not base64!", Path("/nowhere/a.bin")])
def test_what_is_no_picture_is_a_value_error(picture: Any) -> None:
    with pytest.raises(ValueError, match=r"no picture|neither"):
        image_texts([picture])


def test_a_message_without_a_role_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="needs a role"):
        message_documents([{"content": "Hi"}])


@pytest.mark.parametrize("messages", ["hello", b"hello", {"role": "user"}, ["hello"], [b"hello"], [None], [5]])
def test_what_is_no_conversation_is_a_value_error(messages: Any) -> None:
    with pytest.raises(ValueError, match="'role': 'user'"):
        calls.chat("m", messages, {})


def test_results_of_tools_find_their_calls() -> None:
    called = [{"function": {"name": name, "arguments": {"n": n}}} for n, name in enumerate(("one", "two", "one"))]
    history = [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "tool_calls": called, "thinking": "both"},
        {"role": "tool", "tool_name": "two", "content": "2"},
        {"role": "tool", "content": "1", "tool_name": "one"},
        {"role": "tool", "content": "3"},
        {"role": "tool", "content": "4", "tool_call_id": "given"},
    ]
    asked = turns(message_documents(history))
    numbers = [call["id"] for call in asked[1]["tool_calls"]]
    assert len(set(numbers)) == 3
    assert [json.loads(call["function"]["arguments"]) for call in asked[1]["tool_calls"]] == [
        {"n": 0},
        {"n": 1},
        {"n": 2},
    ]
    assert [turn["tool_call_id"] for turn in asked[2:]] == [numbers[1], numbers[0], numbers[2], "given"]
    assert asked[1]["reasoning_content"] == "both"


def test_an_answer_goes_back_into_the_conversation_as_it_came() -> None:
    document: dict[str, Any] = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}],
    }
    for message in (ollama.Message(**document), inference.Message(**document), document):
        (turn,) = turns(message_documents([message]))
        assert turn["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a": 1}'}
        assert turn["content"] == ""
