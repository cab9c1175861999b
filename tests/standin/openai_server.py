"""An OpenAI-compatible server on loopback that does what a test tells it to, good or bad.

It answers ``/v1/models``, ``/v1/chat/completions`` whole and streamed, and the ways to count tokens of llama.cpp
and vLLM. A word is a token; the chat template adds ``TEMPLATE_TOKENS``. Every request is recorded.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TEMPLATE_TOKENS = 5
WORD = "wört "  # two bytes for one letter


@dataclass
class Script:
    """What the server does. An answer has ``tokens`` tokens, or ``max_tokens`` where that is less.

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


@dataclass
class OpenAIServer:
    """A running server. ``chats`` are the bodies of all chat requests, ``other_paths`` what else was asked for."""

    script: Script
    base_url: str = ""
    chats: list[dict[str, Any]] = field(default_factory=list)
    other_paths: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    released: threading.Event = field(default_factory=threading.Event)
    busy: int = 0
    most_busy: int = 0

    def __post_init__(self) -> None:
        self.slots = threading.Semaphore(self.script.slots)
        self.lock = threading.Lock()

    def prompt_tokens(self, messages: list[dict[str, str]]) -> int:
        heard = [m for m in messages if not (self.script.drops_system and m["role"] == "system")]
        return TEMPLATE_TOKENS + sum(len(message["content"].split()) for message in heard)

    def working(self, step: int) -> None:
        with self.lock:
            self.busy += step
            self.most_busy = max(self.most_busy, self.busy)


@contextmanager
def serving(script: Script) -> Iterator[OpenAIServer]:
    """Serve as ``script`` says until the end of the block."""
    server = OpenAIServer(script)
    listener = _Listener(("127.0.0.1", 0), type("Handler", (_Handler,), {"scripted": server}))
    server.base_url = f"http://127.0.0.1:{listener.server_address[1]}/v1"
    thread = threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        listener.shutdown()
        listener.server_close()
        thread.join()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


class _Handler(BaseHTTPRequestHandler):
    scripted: OpenAIServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.scripted.other_paths.append(self.path)
        script = self.scripted.script
        if script.hangs:
            self.scripted.released.wait()
        listed = {"object": "list", "data": [{"id": script.model, "object": "model"}]}
        self._reply(*(script.models or (200, json.dumps(listed))))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        script = self.scripted.script
        if self.path != "/v1/chat/completions":
            self.scripted.other_paths.append(self.path)
            self._count(body)
            return
        self.scripted.chats.append(body)
        refused = [name for name in script.refuses if name in body or name in {m["role"] for m in body["messages"]}]
        if script.hangs:
            self.scripted.released.wait()
        elif time.monotonic() - self.scripted.started < script.load_s:
            self._reply(503, json.dumps({"error": {"message": "Loading model", "code": 503}}))
        elif refused:
            self._reply(400, json.dumps({"error": {"message": f"no such thing: {refused[0]}"}}))
        elif script.answer:
            self._reply(*script.answer)
        else:
            with self.scripted.slots, suppress(BrokenPipeError, ConnectionResetError):
                self.scripted.working(+1)
                try:
                    _Answer(self, self.scripted, body).send()
                finally:
                    self.scripted.working(-1)

    def _count(self, body: dict[str, Any]) -> None:
        counting = self.scripted.script.counting
        if counting == "llamacpp" and self.path == "/apply-template":
            text = "<s> " * TEMPLATE_TOKENS + " ".join(m["content"] for m in self._heard(body["messages"]))
            self._reply(200, json.dumps({"prompt": text}))
        elif counting == "llamacpp" and self.path == "/tokenize" and "content" in body:
            self._reply(200, json.dumps({"tokens": list(range(len(body["content"].split())))}))
        elif counting == "vllm" and self.path == "/tokenize" and "messages" in body:
            self._reply(200, json.dumps({"count": self.scripted.prompt_tokens(body["messages"])}))
        else:
            self._reply(404, json.dumps({"detail": "Not Found"}))

    def _heard(self, messages: list[dict[str, str]]) -> list[dict[str, str]]:
        return [m for m in messages if not (self.scripted.script.drops_system and m["role"] == "system")]

    def _reply(self, status: int, body: str) -> None:
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if body.startswith("<") else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class _Answer:
    """One answer on its way."""

    def __init__(self, handler: _Handler, server: OpenAIServer, body: dict[str, Any]) -> None:
        self.handler, self.script, self.body = handler, server.script, body
        self.released = server.released
        self.count = min(self.script.tokens, body.get("max_tokens", 16))
        self.prompt_tokens = server.prompt_tokens(body["messages"])
        self.waiting: list[str] = []
        self.first = self.last = 0.0

    def send(self) -> None:
        began = time.perf_counter()
        time.sleep(self.script.prompt_s)
        self.first = self.last = time.perf_counter()
        self.prompt_ms = (self.first - began) * 1e3 + 0.001
        if self.body.get("stream"):
            self._stream()
        else:
            self.handler._reply(200, json.dumps(self._whole()))

    def _whole(self) -> dict[str, Any]:
        text = self.script.schema_answer if "response_format" in self.body else WORD * self.count
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if self.script.reasoning >= self.count:
            message = {"role": "assistant", "content": "", self.script.reasoning_name: text}
        finish = "stop" if self.script.stop or "response_format" in self.body else "length"
        answer = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": finish}]}
        return {**answer, **({"usage": self._usage(self.count)} if self.script.usage else {})}

    def _stream(self) -> None:
        self.handler.send_response(200)
        self.handler.send_header("Content-Type", "text/event-stream")
        self.handler.send_header("Transfer-Encoding", "chunked")
        self.handler.end_headers()
        if self.script.role_first:
            self._event(self._chunk({"role": "assistant", "content": None}))
        if not self._tokens():
            return
        self._event(self._chunk({}, "stop" if self.script.stop else "length"))
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
            name = self.script.reasoning_name if sent < self.script.reasoning else "content"
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
