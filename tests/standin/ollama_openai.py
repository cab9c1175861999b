"""The stand-in's routes for inference in OpenAI's shape. Texts and order are upstream's."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.standin.ollama_chat import PASSED, Inference, joined, thinking, vector
from tests.standin.ollama_disk import Kept, RefusalError
from tests.standin.ollama_pieces import Piece


class OpenAIInference(Inference):
    """Everything below ``/v1``."""

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
            whole = joined(pieces)
            message = {
                "role": "assistant",
                "content": whole.text,
                **({"reasoning": whole.thinking} if whole.thinking else {}),
                **_openai_calls(whole),
            }
            reason = "tool_calls" if whole.calls else whole.reason
            choice = {"index": 0, "message": message, "finish_reason": reason}
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
            whole = joined(pieces)
            choice = {"text": whole.text, "index": 0, "finish_reason": whole.reason}
            self.send(200, {**head, "choices": [choice], "usage": _usage(whole)})
            return
        self._openai_stream(
            document, head, pieces, "text_completion", lambda piece, _: {"text": piece.text, "index": 0}
        )

    def _openai_pieces(self, document: dict[str, Any], messages: list[Any]) -> Iterator[Piece]:
        kept = self._named(document)
        body = {name: document[name] for name in PASSED if document.get(name) is not None}
        body |= thinking(document.get("reasoning_effort", "none") != "none")
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
        first, called = True, False
        for piece in pieces:
            called = called or bool(piece.calls)
            if not piece.reason or piece.text or first:
                self._event({**head, "choices": [{**shape(piece, first), "finish_reason": None}]})
                first = False
            if piece.reason:
                ending = shape(Piece(), False) | ({"delta": {}} if kind.startswith("chat") else {})
                self._event(
                    {**head, "choices": [{**ending, "finish_reason": "tool_calls" if called else piece.reason}]}
                )
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
        data = [{"object": "embedding", "embedding": vector(text), "index": n} for n, text in enumerate(texts)]
        count = sum(len(text.split()) for text in texts)
        usage = {"prompt_tokens": count, "total_tokens": count}
        self.send(200, {"object": "list", "data": data, "model": document["model"], "usage": usage})


def _delta(piece: Piece, first: bool) -> dict[str, Any]:
    reasoning = {"reasoning": piece.thinking} if piece.thinking else {}
    return {
        "index": 0,
        "delta": {
            **({"role": "assistant"} if first else {}),
            "content": piece.text,
            **reasoning,
            **_openai_calls(piece),
        },
    }


def _openai_calls(piece: Piece) -> dict[str, Any]:
    calls = [
        {
            "index": n,
            "id": f"call_{n}",
            "type": "function",
            "function": {**call, "arguments": json.dumps(call["arguments"])},
        }
        for n, call in enumerate(piece.calls)
    ]
    return {"tool_calls": calls} if calls else {}


def _usage(piece: Piece) -> dict[str, int]:
    total = piece.prompt_tokens + piece.tokens
    return {"prompt_tokens": piece.prompt_tokens, "completion_tokens": piece.tokens, "total_tokens": total}
