"""One scripted answer of ``openai_server.py``, whole or streamed, with or without something wrong."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

WORD = "wört "  # two bytes for one letter
THOUGHTS = 2  # tokens, where a request wants it to think


@dataclass
class Script:
    """What the server does. An answer has ``tokens`` tokens, or ``max_tokens`` where that is less.

    Where a request has tools, the first one is called; where it wants thinking, ``THOUGHTS`` tokens are that.
    ``load_s``: 503 for so long. ``prompt_s`` and ``token_s``: time before the first token and for each other.
    ``reasoning``: so many tokens come as reasoning first. ``stop``: the last token counted ends the text and has
    no chunk. ``cut_in_two``: every event is written in two halves, cut inside a letter where there is one.
    ``usage_in_chunks``: each chunk carries the usage so far. ``error_after``, ``drop_after``, ``hang_after``: an
    error event, a lost connection or silence after so many tokens. ``answer``: this status and body for every
    chat instead. ``counting``: ``llamacpp``, ``vllm`` or ``usage``. ``refuses``: a request with one of these keys,
    or with a message of one of these roles, is a bad one. ``drops_system``: its template ignores that role.
    ``slots``: so many requests at a time, the others wait.
    """

    model: str = "scripted"
    load_s: float = 0.0
    tokens: int = 1 << 20
    prompt_s: float = 0.0
    token_s: float = 0.0
    tokens_per_chunk: int = 1
    reasoning: int = 0
    reasoning_name: str = "reasoning_content"
    stop: bool = False
    role_first: bool = True
    cut_in_two: bool = False
    events_per_packet: int = 1
    line_end: str = "\n"
    usage: bool = True
    usage_in_chunks: bool = False
    timings: bool = True
    cached: int = 0
    done: bool = True
    error_after: int | None = None
    drop_after: int | None = None
    hang_after: int | None = None
    hangs: bool = False
    answer: tuple[int, str] | None = None
    models: tuple[int, str] | None = None
    schema_answer: str = '{"ok": true}'
    counting: str = "llamacpp"
    refuses: tuple[str, ...] = ()
    drops_system: bool = False
    slots: int = 64


class Answer:
    """One answer on its way."""

    def __init__(
        self, handler: BaseHTTPRequestHandler, script: Script, body: dict[str, Any], prompt_tokens: int
    ) -> None:
        self.handler, self.script, self.body, self.prompt_tokens = handler, script, body, prompt_tokens
        self.count = min(script.tokens, body.get("max_tokens", body.get("max_completion_tokens", 16)))
        thinks = body.get("chat_template_kwargs", {}).get("enable_thinking")
        self.reasoning = script.reasoning or (min(THOUGHTS, self.count) if thinks else 0)
        asked = body.get("tools") and body.get("messages", [{}])[-1].get("role") != "tool"
        self.call = _call(body["tools"][0]["function"]) if asked else None
        self.waiting: list[str] = []
        self.first = self.last = 0.0

    def send(self, released: threading.Event) -> None:
        """Send it; a silence on purpose lasts until ``released``."""
        self.released = released
        began = time.perf_counter()
        time.sleep(self.script.prompt_s)
        self.first = self.last = time.perf_counter()
        self.prompt_ms = (self.first - began) * 1e3 + 0.001
        if self.body.get("stream"):
            self._stream()
        else:
            reply(self.handler, 200, json.dumps(self._whole()))

    def _whole(self) -> dict[str, Any]:
        text = self.script.schema_answer if "response_format" in self.body else WORD * self.count
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if self.reasoning >= self.count:
            message = {"role": "assistant", "content": "", self.script.reasoning_name: text}
        finish = "stop" if self.script.stop or "response_format" in self.body else "length"
        if self.call:
            message, finish = {"role": "assistant", "content": "", "tool_calls": [self.call]}, "tool_calls"
        answer = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": finish}]}
        return {**answer, **({"usage": self._usage(self.count)} if self.script.usage else {})}

    def _stream(self) -> None:
        self.handler.send_response(200)
        self.handler.send_header("Content-Type", "text/event-stream")
        self.handler.send_header("Transfer-Encoding", "chunked")
        self.handler.end_headers()
        if self.script.role_first:
            self._event(self._chunk({"role": "assistant", "content": None}))
        if self.call:
            self._call_in_pieces()
        elif not self._tokens():
            return
        finish = "tool_calls" if self.call else "stop" if self.script.stop else "length"
        self._event(self._chunk({}, finish))
        end: dict[str, Any] = {"choices": []}
        if self.script.usage:
            end["usage"] = self._usage(self.count)
        if self.script.timings:
            end["timings"] = self._timings()
        self._event(end)
        if self.script.done:
            self._text("[DONE]")
        self._flush()
        self.handler.wfile.write(b"0\r\n\r\n")

    def _call_in_pieces(self) -> None:
        """Its name and the beginning of its arguments, then their rest."""
        assert self.call
        function = self.call["function"]
        first, rest = function["arguments"][:3], function["arguments"][3:]
        self._event(self._chunk({"tool_calls": [{**self.call, "function": {**function, "arguments": first}}]}))
        self._event(self._chunk({"tool_calls": [{"index": 0, "function": {"arguments": rest}}]}))

    def _tokens(self) -> bool:
        """Send the tokens; ``False`` where something went wrong on purpose."""
        sent, with_text = 0, self.count - self.script.stop
        while sent < with_text:
            if self.script.error_after == sent:
                self._event({"error": {"message": "out of memory", "code": 500}})
                self._flush()
                self.handler.wfile.write(b"0\r\n\r\n")
                return False
            if sent in (self.script.drop_after, self.script.hang_after):
                self._flush()
                self.released.wait(None if self.script.hang_after == sent else 0)
                self.handler.close_connection = True
                return False
            new = min(self.script.tokens_per_chunk, with_text - sent)
            if sent:
                time.sleep(self.script.token_s * new)
            name = self.script.reasoning_name if sent < self.reasoning else "content"
            sent += new
            chunk = self._chunk({name: WORD * new})
            if self.script.usage_in_chunks:
                chunk["usage"] = self._usage(sent)
            self.last = time.perf_counter()
            if sent == new:
                self.first = self.last
            self._event(chunk)
        if self.script.stop:
            time.sleep(self.script.token_s)
            self.last = time.perf_counter()
        return True

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return {"object": "chat.completion.chunk", "choices": [choice]}

    def _usage(self, tokens: int) -> dict[str, Any]:
        details = {"cached_tokens": self.script.cached}
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": tokens,
            "prompt_tokens_details": details,
        }

    def _timings(self) -> dict[str, Any]:
        decode_ms = (self.last - self.first) * 1e3
        return {
            "prompt_n": self.prompt_tokens,
            "prompt_ms": self.prompt_ms,
            "prompt_per_second": self.prompt_tokens / self.prompt_ms * 1e3,
            "predicted_n": self.count,
            "predicted_ms": decode_ms,
            "predicted_per_second": (self.count - 1) / decode_ms * 1e3 if decode_ms else 0.0,
            "cache_n": self.script.cached,
        }

    def _event(self, document: dict[str, Any]) -> None:
        self._text(json.dumps(document, ensure_ascii=False))

    def _text(self, data: str) -> None:
        self.waiting.append(f"data: {data}{self.script.line_end * 2}")
        if len(self.waiting) >= self.script.events_per_packet:
            self._flush()

    def _flush(self) -> None:
        data = "".join(self.waiting).encode()
        self.waiting = []
        cut = data.find("ö".encode()) + 1 if self.script.cut_in_two and data else 0
        for piece in (data[:cut], data[cut:]):
            if piece:
                self.handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                self.handler.wfile.flush()


def _call(function: dict[str, Any]) -> dict[str, Any]:
    """Return a call of a tool with a word for each argument that it has to have."""
    arguments = {name: WORD.strip() for name in function["parameters"].get("required", ())}
    named = {"name": function["name"], "arguments": json.dumps(arguments)}
    return {"index": 0, "id": "call_of_it", "type": "function", "function": named}


def words(content: Any) -> int:
    """Count the words of a message, which may be in parts or have none."""
    parts = content if isinstance(content, list) else [{"text": content or ""}]
    return sum(len(part.get("text", "").split()) for part in parts)


def reply(handler: BaseHTTPRequestHandler, status: int, body: str) -> None:
    """Answer with a whole body."""
    data = body.encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "text/html" if body.startswith("<") else "application/json")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)
