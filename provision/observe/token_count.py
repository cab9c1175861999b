"""Counting the tokens of a conversation as the server does, template included, by whatever it offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from provision.domain.frozen import frozen
from provision.host.chat_request import CHAT_PATH, ask
from provision.host.endpoint import EndpointClient, Response

Messages = Sequence[dict[str, str]]
COUNT_TIMEOUT_S = 30.0


class TokenCounter(Protocol):
    """One way to count. ``cheap`` counters do not run the model."""

    @property
    def name(self) -> str: ...

    @property
    def cheap(self) -> bool: ...

    def count(self, messages: Messages) -> int | None:
        """Return the prompt's length in tokens; ``None`` where this server cannot say."""


@frozen
class TemplateAndTokenize:
    """llama.cpp: the chat template applied, then ``/tokenize`` with its special tokens understood."""

    client: EndpointClient
    name: str = "/apply-template and /tokenize"
    cheap: bool = True

    def count(self, messages: Messages) -> int | None:
        """See ``TokenCounter``."""
        prompt = _post(self.client, "/apply-template", {"messages": list(messages)}).get("prompt")
        if not isinstance(prompt, str):
            return None
        request = {"content": prompt, "add_special": True, "parse_special": True}
        tokens = _post(self.client, "/tokenize", request).get("tokens")
        return len(tokens) if isinstance(tokens, list) else None


@frozen
class TokenizeMessages:
    """vLLM: ``/tokenize`` takes the conversation itself."""

    client: EndpointClient
    model: str
    name: str = "/tokenize"
    cheap: bool = True

    def count(self, messages: Messages) -> int | None:
        """See ``TokenCounter``."""
        request = {"model": self.model, "messages": list(messages), "add_generation_prompt": True}
        count = _post(self.client, "/tokenize", request).get("count")
        return count if isinstance(count, int) else None


@frozen
class CalibrationRequest:
    """Any server: ``usage.prompt_tokens`` of a request for one token."""

    client: EndpointClient
    model: str
    timeout_s: float
    name: str = "usage of a calibration request"
    cheap: bool = False

    def count(self, messages: Messages) -> int | None:
        """See ``TokenCounter``."""
        request = {"model": self.model, "messages": list(messages), "max_tokens": 1}
        answer = ask(request, lambda asked: self.client.post(CHAT_PATH, asked, self.timeout_s))
        usage = _document(answer).get("usage")
        count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        return count if isinstance(count, int) else None


def counters(client: EndpointClient, model: str, timeout_s: float) -> list[TokenCounter]:
    """Return the ways to count, best first."""
    return [
        TemplateAndTokenize(client),
        TokenizeMessages(client, model),
        CalibrationRequest(client, model, timeout_s),
    ]


def _post(client: EndpointClient, path: str, document: Any) -> dict[str, Any]:
    return _document(client.post(path, document, COUNT_TIMEOUT_S))


def _document(answer: Response) -> dict[str, Any]:
    document = answer.json() if answer.status == 200 else None
    return document if isinstance(document, dict) else {}
