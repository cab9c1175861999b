"""What a model thinks, taken out of documents in which it still stands between ``<think>`` and ``</think>``. Pure."""

from __future__ import annotations

from typing import Any

from provision.client.thinking import ThinkSplitter
from provision.inference.calls import Call


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

    def _parted(self, document: dict[str, Any], *, ended: bool) -> dict[str, Any]:
        if not self._parts:
            return document
        message = document.get("message")
        if isinstance(message, dict):
            return {**document, "message": self._moved(message, "content", ended=ended)}
        return self._moved(document, "response", ended=ended) if "response" in document else document

    def _moved(self, place: dict[str, Any], name: str, *, ended: bool) -> dict[str, Any]:
        thought, text = self._splitter.feed(place.get(name) or "")
        if ended:
            more, rest = self._splitter.close()
            thought, text = thought + more, text + rest
        thinking = (place.get("thinking") or "") + thought
        return {**place, name: text, **({"thinking": thinking} if thinking else {})}
