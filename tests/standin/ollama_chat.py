"""The stand-in's routes for inference, in Ollama's own shape and in OpenAI's. Texts and order are upstream's."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.standin.ollama_disk import Kept, RefusalError, parse
from tests.standin.ollama_http import INVALID_NAME, Models
from tests.standin.ollama_runner import Piece
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
            messages = [{"role": "user", "content": document["prompt"]}]
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
            told = lambda piece: {"message": {"role": "assistant", "content": piece.text, **_thought(piece)}}  # noqa: E731
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
        }
        pieces = self._pieces(kept, document, body)
        if document.get("stream") is False:
            whole = _joined(pieces)
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
        answer = {"model": document["model"], "embeddings": [_vector(text) for text in texts]}
        self.send(200, {**answer, "total_duration": 1000, "load_duration": 100, "prompt_eval_count": count})

    def openai_models(self) -> None:
        data = [self._openai(kept) for kept in self._newest_first()]
        self.send(200, {"object": "list", "data": data or None})  # upstream says null where there is none

    def openai_model(self, name: str) -> None:
        self.send(200, {**self._openai(self.kept(name)), "id": name})

    def _openai(self, kept: Kept) -> dict[str, Any]:
        created = int(kept.path.stat().st_mtime)
        return {"id": kept.name.short, "object": "model", "created": created, "owned_by": kept.name.namespace}

    def openai_chat(self) -> None:
        document = self.document()
        if not document.get("messages"):
            raise RefusalError(400, "[] is too short - 'messages'")
        pieces = self._openai_pieces(document, document["messages"])
        head = self._openai_head(document, "chat.completion", "chatcmpl")
        if not document.get("stream"):
            whole = _joined(pieces)
            message = {
                "role": "assistant",
                "content": whole.text,
                **({"reasoning": whole.thinking} if whole.thinking else {}),
            }
            choice = {"index": 0, "message": message, "finish_reason": whole.reason}
            self.send(200, {**head, "choices": [choice], "usage": _usage(whole)})
            return
        self._openai_stream(document, head, pieces, "chat.completion.chunk", _delta)

    def openai_complete(self) -> None:
        document = self.document()
        prompt = document.get("prompt") or ""
        text = prompt if isinstance(prompt, str) else "\n".join(prompt)
        pieces = self._openai_pieces(document, [{"role": "user", "content": text}])
        head = self._openai_head(document, "text_completion", "cmpl")
        if not document.get("stream"):
            whole = _joined(pieces)
            choice = {"text": whole.text, "index": 0, "finish_reason": whole.reason}
            self.send(200, {**head, "choices": [choice], "usage": _usage(whole)})
            return
        self._openai_stream(
            document, head, pieces, "text_completion", lambda piece, _: {"text": piece.text, "index": 0}
        )

    def _openai_pieces(self, document: dict[str, Any], messages: list[Any]) -> Iterator[Piece]:
        kept = self._named(document)
        body = {name: document[name] for name in PASSED if document.get(name) is not None}
        pieces = self._pieces(kept, {"model": document["model"]}, {"messages": messages, **body})
        first = next(pieces)
        return (piece for part in ([first], pieces) for piece in part)

    def _openai_head(self, document: dict[str, Any], kind: str, prefix: str) -> dict[str, Any]:
        number = f"{prefix}-{secrets.randbelow(1000)}"
        made = {"id": number, "object": kind, "created": int(time.time()), "model": document["model"]}
        return {**made, "system_fingerprint": "fp_ollama"}

    def _openai_stream(
        self,
        document: dict[str, Any],
        head: dict[str, Any],
        pieces: Iterator[Piece],
        kind: str,
        shape: Callable[[Piece, bool], dict[str, Any]],
    ) -> None:
        self.begin("text/event-stream")
        head = {**head, "object": kind}
        first = True
        for piece in pieces:
            if not piece.reason or piece.text or first:
                self._event({**head, "choices": [{**shape(piece, first), "finish_reason": None}]})
                first = False
            if piece.reason:
                ending = shape(Piece(), False) | ({"delta": {}} if kind.startswith("chat") else {})
                self._event({**head, "choices": [{**ending, "finish_reason": piece.reason}]})
                if (document.get("stream_options") or {}).get("include_usage"):
                    self._event({**head, "choices": [], "usage": _usage(piece)})
        self.chunk(b"data: [DONE]\n\n")
        self.end()

    def _event(self, document: dict[str, Any]) -> None:
        self.chunk(b"data: " + json.dumps(document).encode() + b"\n\n")

    def openai_embed(self) -> None:
        document = self.document()
        self._named(document)
        texts = [document["input"]] if isinstance(document.get("input"), str) else document.get("input") or []
        data = [{"object": "embedding", "embedding": _vector(text), "index": n} for n, text in enumerate(texts)]
        count = sum(len(text.split()) for text in texts)
        usage = {"prompt_tokens": count, "total_tokens": count}
        self.send(200, {"object": "list", "data": data, "model": document["model"], "usage": usage})


def _delta(piece: Piece, first: bool) -> dict[str, Any]:
    reasoning = {"reasoning": piece.thinking} if piece.thinking else {}
    return {"index": 0, "delta": {**({"role": "assistant"} if first else {}), "content": piece.text, **reasoning}}


def _thought(piece: Piece) -> dict[str, Any]:
    return {"thinking": piece.thinking} if piece.thinking else {}


def _joined(pieces: Iterator[Piece]) -> Piece:
    whole = Piece()
    for piece in pieces:
        counts = piece.prompt_tokens, piece.tokens
        whole = Piece(whole.text + piece.text, whole.thinking + piece.thinking, piece.reason, *counts)
    return whole


def _usage(piece: Piece) -> dict[str, int]:
    total = piece.prompt_tokens + piece.tokens
    return {"prompt_tokens": piece.prompt_tokens, "completion_tokens": piece.tokens, "total_tokens": total}


def _end(piece: Piece, began_ns: int) -> dict[str, Any]:
    took = time.perf_counter_ns() - began_ns
    return {
        "done": True,
        "done_reason": piece.reason,
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


def _vector(text: str) -> list[float]:
    """Made up: eight numbers that the same text always gets."""
    return [byte / 255 for byte in hashlib.sha256(text.encode()).digest()[:DIMENSIONS]]
