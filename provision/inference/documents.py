"""What is asked, as the documents of Ollama's API: messages, tools and options of any of their forms. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from provision.inference.functions import as_tool
from provision.inference.image import Image
from provision.inference.types import Message, Options, Tool

Messages: TypeAlias = Sequence[Mapping[str, Any] | Message]
Tools: TypeAlias = Sequence[Mapping[str, Any] | Tool | Callable[..., Any]]
OptionsLike: TypeAlias = Mapping[str, Any] | Options


def plain(value: Any) -> Any:
    """Return the document of a value, one of ours or one of pydantic's, whatever it lies in."""
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(exclude_none=True))
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [plain(item) for item in value]
    return value


def message_documents(messages: Iterable[Any] | None) -> list[dict[str, Any]]:
    """Return the turns of a conversation; what is empty is left out.

    Raises ``ValueError`` where one has no role, or is none.
    """
    return [_message(message) for message in messages or ()]


def tool_documents(tools: Iterable[Any] | None) -> list[dict[str, Any]]:
    """Return the tools; a Python function becomes one. Raises ``TypeError`` for one whose types no schema can tell."""
    return [_tool(as_tool(tool) if callable(tool) else tool) for tool in tools or ()]


def image_texts(images: Iterable[Any] | None) -> list[str]:
    """Return pictures in base64. Raises ``ValueError`` for what is none."""
    return [plain(image) if hasattr(image, "model_dump") else Image(image).model_dump() for image in images or ()]


def option_document(options: Any) -> dict[str, Any]:
    """Return the options that say something."""
    return {name: value for name, value in dict(options).items() if value is not None}


def _message(message: Any) -> dict[str, Any]:
    try:
        given = {name: value for name, value in dict(message).items() if value}
    except (TypeError, ValueError):
        kind = type(message).__name__
        raise ValueError(f"Messages are a list of turns such as {{'role': 'user', …}}: {kind} is none.") from None
    if "role" not in given:
        raise ValueError("A message needs a role: system, user, assistant or tool.")
    images = {"images": image_texts(given.pop("images"))} if "images" in given else {}
    return {**{name: plain(value) for name, value in given.items()}, **images}


def _tool(tool: Any) -> dict[str, Any]:
    document: dict[str, Any] = plain(tool)
    parameters = (document.get("function") or {}).get("parameters")
    if parameters and "defs" in parameters:
        parameters["$defs"] = parameters.pop("defs")
    return document
