"""What a caller needs of a server, asked with the official client and with a bare request; it knows no engine."""

from __future__ import annotations

import json
from typing import Any

import urllib3
from openai import OpenAI

QUESTION: list[Any] = [{"role": "user", "content": "Say hello."}]
SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}


def use_with_openai(base_url: str, model: str, key: str = "none") -> None:
    """Fail unless the model is listed, answers whole and in pieces, and keeps to a schema."""
    with OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=120) as client:
        listed = [each.id for each in client.models.list()]
        assert [name.removesuffix(":latest") for name in listed] == [model]

        answer = client.chat.completions.create(model=model, messages=QUESTION, max_tokens=8)
        assert answer.object == "chat.completion"
        assert answer.choices[0].message.role == "assistant"
        assert answer.choices[0].message.content
        assert answer.choices[0].finish_reason in ("stop", "length")
        assert answer.usage is not None
        assert 0 < answer.usage.completion_tokens <= 8
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens

        _stream(client, model)
        _schema(client, model)


def _stream(client: OpenAI, model: str) -> None:
    pieces = list(
        client.chat.completions.create(
            model=model, messages=QUESTION, max_tokens=8, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    ends = [piece.choices[0].finish_reason for piece in pieces if piece.choices and piece.choices[0].finish_reason]
    assert text
    assert len(ends) == 1
    assert pieces[-1].usage is not None, "the last piece tells the usage"
    assert 0 < pieces[-1].usage.completion_tokens <= 8


def _schema(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Is all well? Answer in JSON."}],
        max_tokens=64,
        temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "state", "schema": SCHEMA, "strict": True}},
    )
    said = json.loads(answer.choices[0].message.content or "")
    assert said.keys() == {"ok"}
    assert isinstance(said["ok"], bool)


def use_without_a_library(base_url: str, model: str, **more: Any) -> dict[str, Any]:
    """Ask as curl would, and return the answer's document."""
    body = {"model": model, "messages": QUESTION, "max_tokens": 4, **more}
    answer = urllib3.request("POST", f"{base_url}/chat/completions", json=body, timeout=120, retries=False)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    document: dict[str, Any] = answer.json()
    assert document.keys() >= {"id", "object", "created", "model", "choices", "usage"}
    return document
