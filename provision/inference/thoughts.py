"""What a model thinks, taken out of documents in which it still stands between ``<think>`` and ``</think>``. Pure."""

from __future__ import annotations

from typing import Any

from provision.client.thinking import ThinkSplitter
from provision.inference.calls import Call

_HEAD = ("model", "created_at", "done")


class Thoughts:
    """The documents of one answer. A text that the caller has to get as it is stays so."""

    def __init__(self, *, parted: bool) -> None:
        self._parts = parted
        self._splitter = ThinkSplitter()

    @classmethod
    def of(cls, call: Call[Any]) -> Thoughts:
        """Return what parts the answer of this call."""
        return cls(parted=not (call.document or {}).get("raw"))

    def part(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the next document of a stream with its thinking apart."""
        return self._parted(document, ended=bool(document.get("done")))

    def whole(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the one document of an answer with its thinking apart."""
        return self._parted(document, ended=True)

    def rest(self, last: dict[str, Any]) -> list[dict[str, Any]]:
        """Return what was held back, as a document like the ``last`` one of a stream that breaks off; else nothing."""
        message = last.get("message")
        words = (
            {"message": {"role": message.get("role"), "content": ""}} if isinstance(message, dict) else {"response": ""}
        )
        held_back = self._parted({**{name: last.get(name) for name in _HEAD}, **words}, ended=True)
        place = held_back.get("message", held_back)
        return [held_back] if any(place.get(name) for name in ("content", "response", "thinking")) else []

    def _parted(self, document: dict[str, Any], *, ended: bool) -> dict[str, Any]:
        if not self._parts:
            return document
        message = document.get("message")
        if isinstance(message, dict):
            return {**document, "message": self._moved(message, "content", ended=ended)}
        return self._moved(document, "response", ended=ended) if "response" in document else document

    def _moved(self, place: dict[str, Any], name: str, *, ended: bool) -> dict[str, Any]:
        said, known = place.get(name) or "", place.get("thinking") or ""
        if not (isinstance(said, str) and isinstance(known, str)):
            return place  # no answer of this API, as its type will tell
        thought, text = self._splitter.feed(said)
        if ended:
            more, rest = self._splitter.close()
            thought, text = thought + more, text + rest
        thinking = known + thought
        return {**place, name: text, **({"thinking": thinking} if thinking else {})}
