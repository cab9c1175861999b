"""Requests of Ollama's API as a backend's chat or text completions, by the table of backends. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from provision.client.options import switch_thinking, translate_options, unsupported
from provision.client.port import Options
from provision.errors import UsageError
from provision.inference.turns import turns, user_turn
from provision.knowledge.routes import Backend

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_DURATION = re.compile(rf"[+-]?(?:{_PART.pattern})+")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?(?:e[+-]?\d+)?")
_OF_NO_CHAT = ("template", "context", "width", "height", "steps")
_OF_NO_TEXT = (*_OF_NO_CHAT, "system", "images", "think", "format", "logprobs", "top_logprobs")


def seconds(keep_alive: float | str) -> float:
    """Return how long a model stays loaded: a number of seconds, or a duration such as ``5m``; negative is for ever.

    Raises ``UsageError`` for anything else.
    """
    text = str(keep_alive).strip()
    if _DURATION.fullmatch(text):
        return (-1 if text[0] == "-" else 1) * sum(float(size) * _UNITS_S[unit] for size, unit in _PART.findall(text))
    if not _NUMBER.fullmatch(text):
        raise UsageError(f"{keep_alive!r} is no keep-alive.", "Write seconds, or a duration such as 5m.")
    return float(text)


def is_text(document: Mapping[str, Any]) -> bool:
    """Tell whether the model is to go on with a text as it is, without a template for chats."""
    return bool(document.get("raw") or document.get("suffix"))


def conversation(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of ``chat``, or those that ``generate`` means."""
    if "messages" in document:
        return turns(document["messages"])
    if not document.get("prompt") and not document.get("images"):
        return []
    system = [{"role": "system", "content": document["system"]}] if document.get("system") else []
    return [*system, user_turn(document.get("prompt", ""), document.get("images", ()))]


def chat_options(document: Mapping[str, Any], backend: Backend, *, strict: bool) -> Options:
    """Return how to answer, for the port. What ``backend`` does not take is left out, or refused where ``strict``.

    Raises ``UnsupportedOptionError``.
    """
    _refuse(document, _OF_NO_CHAT, backend, strict)
    thinking = switch_thinking(backend, document.get("think"), strict=strict)
    likely = {name: document[name] for name in ("logprobs", "top_logprobs") if name in document}
    options: Options = {"extra": {**_sampling(document, backend, strict), **thinking, **likely}}
    if document.get("tools"):
        options["tools"] = document["tools"]
    wanted = document.get("format")
    if isinstance(wanted, Mapping):
        options["json_schema"] = wanted
    elif wanted:
        options["response_format"] = {"type": "json_object"}
    return options


def text_fields(document: Mapping[str, Any], backend: Backend, *, strict: bool) -> dict[str, Any]:
    """Return the fields of a request for a text completion besides model and prompt. Raises as ``chat_options``."""
    _refuse(document, _OF_NO_TEXT if backend.suffix else (*_OF_NO_TEXT, "suffix"), backend, strict)
    suffix = {"suffix": document["suffix"]} if document.get("suffix") and backend.suffix else {}
    return {**_sampling(document, backend, strict), **suffix}


def embed_dimensions(document: Mapping[str, Any], backend: Backend, *, strict: bool) -> int | None:
    """Return how long the vectors are to be. Raises as ``chat_options``."""
    _refuse(document, ("truncate", "options", "keep_alive"), backend, strict)
    dimensions: int | None = document.get("dimensions")
    return dimensions


def _sampling(document: Mapping[str, Any], backend: Backend, strict: bool) -> dict[str, Any]:
    fields = translate_options(backend, document.get("options") or {}, strict=strict)
    return {**fields, **_keep_alive(document.get("keep_alive"), backend, strict)}


def _keep_alive(keep_alive: float | str | None, backend: Backend, strict: bool) -> dict[str, Any]:
    if keep_alive is None:
        return {}
    idle_s = seconds(keep_alive)
    if backend.keep_alive and idle_s >= 0:
        return {backend.keep_alive: round(idle_s)}
    _refuse({"keep_alive": True}, ("keep_alive",), backend, strict)
    return {}


def _refuse(document: Mapping[str, Any], names: tuple[str, ...], backend: Backend, strict: bool) -> None:
    given = [name for name in names if document.get(name)]
    if given and strict:
        raise unsupported(backend, given)
