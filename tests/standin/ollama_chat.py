"""The stand-in's routes for inference, in Ollama's own shape. Texts and order are upstream's."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.standin.ollama_disk import Kept, RefusalError, parse
from tests.standin.ollama_http import INVALID_NAME, Models
from tests.standin.ollama_pieces import Piece
from tests.standin.ollama_wire import stamp

PASSED = (
    "temperature",
    "top_p",
    "seed",
    "stop",
    "max_tokens",
    "response_format",
    "frequency_penalty",
    "presence_penalty",
    "tools",
)
DIMENSIONS = 8


class Inference(Models):
    def _named(self, document: dict[str, Any]) -> Kept:
        name = document.get("model") or ""
        if not name:
            raise RefusalError(400, "model is required")
        if parse(name) is None:
            raise RefusalError(400, INVALID_NAME)
        return self.kept(name)

    def generate(self) -> None:
        document = self.document()
        kept = self._named(document)
        if not document.get("prompt") and document.get("keep_alive") in (0, "0", "0s"):
            self.scheduler.unload(kept)
            self.send(200, self._head(document) | {"response": "", "done": True, "done_reason": "unload"})
        elif not document.get("prompt"):
            self.scheduler.use(kept, document.get("options") or {}, document.get("keep_alive"))
            self.send(200, self._head(document) | {"response": "", "done": True, "done_reason": "load"})
        else:
            system = [{"role": "system", "content": document["system"]}] if document.get("system") else []
            messages = [*system, {"role": "user", "content": document["prompt"]}]
            self._native(document, messages, kept, lambda piece: {"response": piece.text, **_thought(piece)})

    def chat(self) -> None:
        document = self.document()
        kept = self._named(document)
        messages = document.get("messages") or []
        empty = {"role": "assistant", "content": ""}
        if not messages and document.get("keep_alive") in (0, "0", "0s"):
            self.scheduler.unload(kept)
            self.send(200, self._head(document) | {"message": empty, "done": True, "done_reason": "unload"})
        elif not messages:
            self.scheduler.use(kept, document.get("options") or {}, document.get("keep_alive"))
            self.send(200, self._head(document) | {"message": empty, "done": True, "done_reason": "load"})
        else:
            told = lambda piece: {"message": {"role": "assistant", "content": piece.text, **_said(piece)}}  # noqa: E731
            self._native(document, messages, kept, told)

    def _head(self, document: dict[str, Any]) -> dict[str, Any]:
        return {"model": document["model"], "created_at": stamp()}

    def _native(
        self, document: dict[str, Any], messages: list[Any], kept: Kept, told: Callable[[Piece], dict[str, Any]]
    ) -> None:
        began = time.perf_counter_ns()
        body = {
            "messages": messages,
            **_of_options(document.get("options") or {}),
            **_of_format(document.get("format")),
            **({"tools": document["tools"]} if document.get("tools") else {}),
            **thinking(document.get("think")),
        }
        pieces = self._pieces(kept, document, body)
        if document.get("stream") is False:
            whole = joined(pieces)
            self.send(200, {**self._head(document), **told(whole), **_end(whole, began)})
            return
        for piece in pieces:
            self.line(
                {**self._head(document), **told(piece), **(_end(piece, began) if piece.reason else {"done": False})}
            )
        self.end()

    def _pieces(self, kept: Kept, document: dict[str, Any], body: dict[str, Any]) -> Iterator[Piece]:
        options = document.get("options") or {}
        runner = self.scheduler.use(kept, options, document.get("keep_alive"))
        pieces = runner.chat(body)
        first = next(pieces)  # so that an error comes before the head of the answer
        yield first
        yield from pieces
        if document.get("keep_alive") in (0, "0", "0s"):
            self.scheduler.unload(kept)

    def embed(self) -> None:
        document = self.document()
        self._named(document)
        texts = document.get("input")
        texts = [texts] if isinstance(texts, str) else texts or []
        count = sum(len(text.split()) for text in texts)
        answer = {"model": document["model"], "embeddings": [vector(text) for text in texts]}
        self.send(200, {**answer, "total_duration": 1000, "load_duration": 100, "prompt_eval_count": count})

    def embed_one(self) -> None:
        document = self.document()
        self._named(document)
        self.send(200, {"embedding": vector(document.get("prompt") or "")})


def thinking(wanted: Any) -> dict[str, Any]:
    return {"chat_template_kwargs": {"enable_thinking": True}} if wanted else {}


def _said(piece: Piece) -> dict[str, Any]:
    return {**_thought(piece), **({"tool_calls": [{"function": call} for call in piece.calls]} if piece.calls else {})}


def _thought(piece: Piece) -> dict[str, Any]:
    return {"thinking": piece.thinking} if piece.thinking else {}


def joined(pieces: Iterator[Piece]) -> Piece:
    whole = Piece()
    for piece in pieces:
        counts = piece.prompt_tokens, piece.tokens
        texts = whole.text + piece.text, whole.thinking + piece.thinking
        whole = Piece(*texts, piece.reason, *counts, whole.calls + piece.calls)
    return whole


def _end(piece: Piece, began_ns: int) -> dict[str, Any]:
    took = time.perf_counter_ns() - began_ns
    return {
        "done": True,
        "done_reason": "stop" if piece.reason == "tool_calls" else piece.reason,
        "total_duration": took,
        "load_duration": took // 10,
        "prompt_eval_count": piece.prompt_tokens,
        "prompt_eval_duration": took // 5,
        "eval_count": piece.tokens,
        "eval_duration": took // 2,
    }


def _of_options(options: dict[str, Any]) -> dict[str, Any]:
    passed = {name: options[name] for name in PASSED if name in options}
    return {**passed, **({"max_tokens": options["num_predict"]} if options.get("num_predict", -1) > 0 else {})}


def _of_format(wanted: Any) -> dict[str, Any]:
    if not wanted:
        return {}
    if wanted == "json":
        return {"response_format": {"type": "json_object"}}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted}}}


def vector(text: str) -> list[float]:
    """Made up: eight numbers that the same text always gets."""
    return [byte / 255 for byte in hashlib.sha256(text.encode()).digest()[:DIMENSIONS]]
