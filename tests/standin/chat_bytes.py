"""The bytes of answers to a chat, as model servers send them: heads, events, chunks, whole completions."""

from __future__ import annotations

import json
from typing import Any

TEXT_STREAM = "text/event-stream"
DONE = b"data: [DONE]\n\n"
LAST_CHUNK = b"0\r\n\r\n"
USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}


def head(content_type: str = TEXT_STREAM, status: str = "200 OK", **headers: str) -> bytes:
    """Return a head; where ``headers`` tell no length, the answer lasts as long as the connection."""
    fields = {"Content-Type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode()


CHUNKED_HEAD = head(Transfer_Encoding="chunked")


def chunk(data: bytes) -> bytes:
    """Return one piece of the body of an answer with ``CHUNKED_HEAD``."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def chunked(*pieces: bytes) -> bytes:
    """Return a whole streamed answer, after which the connection can be kept."""
    return CHUNKED_HEAD + b"".join(map(chunk, pieces)) + LAST_CHUNK


def whole(document: Any, status: str = "200 OK", content_type: str = "application/json", **headers: str) -> bytes:
    """Return an answer whose length is known; bytes are sent as they are."""
    body = document if isinstance(document, bytes) else json.dumps(document, ensure_ascii=False).encode()
    return head(content_type, status, Content_Length=str(len(body)), **headers) + body


def event(document: Any, name: str = "", end: str = "\n") -> bytes:
    """Return one event."""
    data = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
    return f"{f'event: {name}{end}' if name else ''}data: {data}{end}{end}".encode()


def delta(finish_reason: str | None = None, usage: Any = None, **fields: Any) -> dict[str, Any]:
    """Return a chunk of a streamed completion."""
    choice = {"index": 0, "delta": fields, "finish_reason": finish_reason}
    return {"object": "chat.completion.chunk", "model": "served", "choices": [choice], "usage": usage}


def says(*texts: str) -> bytes:
    """Return the events of an answer with these pieces of text, all of it but ``[DONE]``."""
    said = b"".join(event(delta(content=text)) for text in texts)
    return event(delta(role="assistant", content=None)) + said + event(delta("stop")) + usage_event()


def usage_event() -> bytes:
    return event({"choices": [], "usage": USAGE})


def completion(message: Any, finish_reason: str | None = "stop", **fields: Any) -> dict[str, Any]:
    """Return a whole completion; a text is what the assistant says."""
    said = {"role": "assistant", "content": message} if isinstance(message, str) else message
    choice = {"index": 0, "message": said, "finish_reason": finish_reason}
    return {"object": "chat.completion", "model": "served", "choices": [choice], "usage": USAGE, **fields}


def refusal(status: str, message: str = "no", **headers: str) -> bytes:
    """Return an error in OpenAI's form."""
    return whole({"error": {"message": message, "type": "error"}}, status, **headers)
