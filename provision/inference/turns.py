"""Conversations of Ollama's API in OpenAI's form. Pure."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any

_BEGINNINGS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp"}
_BASE64_OF_BEGINNING = 16


def turns(messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages with pictures as parts, and calls of tools with the ids that their results name.

    Ollama's calls have no ids: each gets one, and a result belongs to the first call still unanswered that has its
    ``tool_name``, or to the first of all where none has.
    """
    waiting: dict[str, str] = {}
    translated = []
    for message in messages:
        if message["role"] == "tool":
            translated.append(_result(message, waiting))
        else:
            translated.append(_turn(message, waiting, f"call_{len(translated)}"))
    return translated


def user_turn(text: str, images: Iterable[str] = ()) -> dict[str, Any]:
    """Return what a user says, with pictures in base64."""
    return {"role": "user", "content": _content(text, images)}


def picture_type(base64: str) -> str:
    """Return the media type of a picture by how it begins; an unknown one is a PNG."""
    try:
        beginning = b64decode(base64[:_BASE64_OF_BEGINNING])
    except ValueError:
        beginning = b""
    return "image/" + next((kind for start, kind in _BEGINNINGS.items() if beginning.startswith(start)), "png")


def _turn(message: Mapping[str, Any], waiting: dict[str, str], number: str) -> dict[str, Any]:
    turn = {"role": message["role"], "content": _content(message.get("content", ""), message.get("images", ()))}
    if not message.get("tool_calls"):
        return turn
    calls = [_call(call, f"{number}_{place}") for place, call in enumerate(message["tool_calls"])]
    waiting.update({call["id"]: call["function"]["name"] for call in calls})
    thought = {"reasoning_content": message["thinking"]} if message.get("thinking") else {}
    return {**turn, "tool_calls": calls, **thought}  # a model goes on with what it thought before it called


def _call(call: Mapping[str, Any], number: str) -> dict[str, Any]:
    function = call["function"]
    arguments = function.get("arguments") or {}
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    named = {"name": function["name"], "arguments": text}
    return {"id": call.get("id") or number, "type": "function", "function": named}


def _result(message: Mapping[str, Any], waiting: dict[str, str]) -> dict[str, Any]:
    name = message.get("tool_name") or message.get("name")
    asked = [number for number, called in waiting.items() if called == name] or list(waiting)
    number = message.get("tool_call_id") or next(iter(asked), name or "")
    waiting.pop(number, None)
    return {"role": "tool", "tool_call_id": number, "content": _content(message.get("content", ""), ())}


def _content(text: str, images: Iterable[str]) -> str | list[dict[str, Any]]:
    pictures = [
        {"type": "image_url", "image_url": {"url": f"data:{picture_type(image)};base64,{image}"}} for image in images
    ]
    return [{"type": "text", "text": text}, *pictures] if pictures else text
