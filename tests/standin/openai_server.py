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
from typing import Any

from tests.standin.listener import Handler, listening
from tests.standin.openai_answer import Answer, Script, reply, words

__all__ = ["TEMPLATE_TOKENS", "OpenAIServer", "Script", "serving"]

TEMPLATE_TOKENS = 5


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
        return TEMPLATE_TOKENS + sum(words(message.get("content")) for message in heard)

    def working(self, step: int) -> None:
        with self.lock:
            self.busy += step
            self.most_busy = max(self.most_busy, self.busy)


@contextmanager
def serving(script: Script, port: int = 0) -> Iterator[OpenAIServer]:
    """Serve as ``script`` says until the end of the block, on any free port where none is given."""
    server = OpenAIServer(script)
    with listening(type("Site", (_Handler,), {"scripted": server}), port=port) as listener:
        server.base_url = f"{listener.root}/v1"
        try:
            yield server
        finally:
            server.released.set()


class _Handler(Handler):
    scripted: OpenAIServer
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.scripted.other_paths.append(self.path)
        script = self.scripted.script
        if script.hangs:
            self.scripted.released.wait()
        listed = {"object": "list", "data": [{"id": script.model, "object": "model"}]}
        reply(self, *(script.models or (200, json.dumps(listed))))

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
            reply(self, 503, json.dumps({"error": {"message": "Loading model", "code": 503}}))
        elif refused:
            reply(self, 400, json.dumps({"error": {"message": f"no such thing: {refused[0]}"}}))
        elif script.answer:
            reply(self, *script.answer)
        else:
            with self.scripted.slots, suppress(BrokenPipeError, ConnectionResetError):
                self.scripted.working(+1)
                try:
                    Answer(self, script, body, self.scripted.prompt_tokens(body["messages"])).send(
                        self.scripted.released
                    )
                finally:
                    self.scripted.working(-1)

    def _count(self, body: dict[str, Any]) -> None:
        counting = self.scripted.script.counting
        if counting == "llamacpp" and self.path == "/apply-template":
            text = "<s> " * TEMPLATE_TOKENS + " ".join(m["content"] for m in self._heard(body["messages"]))
            reply(self, 200, json.dumps({"prompt": text}))
        elif counting == "llamacpp" and self.path == "/tokenize" and "content" in body:
            reply(self, 200, json.dumps({"tokens": list(range(len(body["content"].split())))}))
        elif counting == "vllm" and self.path == "/tokenize" and "messages" in body:
            reply(self, 200, json.dumps({"count": self.scripted.prompt_tokens(body["messages"])}))
        else:
            reply(self, 404, json.dumps({"detail": "Not Found"}))

    def _heard(self, messages: list[dict[str, str]]) -> list[dict[str, str]]:
        return [m for m in messages if not (self.scripted.script.drops_system and m["role"] == "system")]
