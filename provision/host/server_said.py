"""The sentence in a server's error answer, whatever its shape. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from provision.domain.visible import visible

MAX_CHARACTERS = 200
HIDDEN = "***"
_TAGS = re.compile(  # in linear time, whatever is sent
    r"<(script|style)\b.*?(?:</\1>|\Z)|<[^<>]*>", re.IGNORECASE | re.DOTALL
)


def server_said(body: bytes, secrets: Iterable[str] = ()) -> str:
    """Return the message in ``body``: of an OpenAI, Ollama or FastAPI error, else its text without markup.

    It is one line that a terminal may be given, and holds none of ``secrets``.
    """
    text = body.decode("utf-8", "replace")
    try:
        found = _message(json.loads(text))
    except (ValueError, RecursionError):  # no JSON, or brackets without end
        found = None
    words = " ".join(without(secrets, found or _TAGS.sub(" ", text)).split())
    return _shortened(visible(words)) or "nothing"


def without(secrets: Iterable[str], text: str) -> str:
    """Return ``text`` with something else in place of ``secrets``."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text


def _message(document: Any) -> str | None:
    """Look into ``error``, ``message`` and ``detail``, one inside another."""
    if isinstance(document, str):
        return document
    if isinstance(document, dict):
        for name in ("error", "message", "detail"):
            if document.get(name):
                return _message(document[name]) or json.dumps(document[name])
    return None


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
