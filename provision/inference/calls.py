"""Each call of Ollama's API: where it goes, the document that is sent, and what its answer is. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, Literal, TypedDict, TypeVar

from provision.domain.frozen import frozen
from provision.inference import types
from provision.inference.documents import (
    Messages,
    OptionsLike,
    Tools,
    image_texts,
    message_documents,
    option_document,
    plain,
    tool_documents,
)
from provision.inference.image import Image
from provision.inference.value import Value

T = TypeVar("T", bound=Value)


@frozen
class Call(Generic[T]):
    """A request for ``path``, whose answers are of the type ``answer``; ``streams``: they may come in pieces."""

    path: str
    answer: type[T]
    document: Mapping[str, Any] | None = None
    method: Literal["GET", "POST", "DELETE"] = "POST"
    streams: bool = False

    @property
    def model(self) -> str | None:
        """The model that is spoken of."""
        return (self.document or {}).get("model")

    def changed(self, **fields: Any) -> Call[T]:
        """Return the call with other fields in its document."""
        return replace(self, document={**(self.document or {}), **fields})


class Common(TypedDict, total=False):
    """What both ``chat`` and ``generate`` take."""

    think: bool | str | None
    logprobs: bool | None
    top_logprobs: int | None
    format: Literal["", "json"] | Mapping[str, Any] | None
    options: OptionsLike | None
    keep_alive: float | str | None


class ChatMore(Common, total=False):
    """What ``chat`` takes by name."""

    tools: Tools | None


class GenerateMore(Common, total=False):
    """What ``generate`` takes by name."""

    system: str | None
    template: str | None
    context: Sequence[int] | None
    raw: bool | None
    images: Sequence[str | bytes | Image] | None
    width: int | None
    height: int | None
    steps: int | None


class CreateMore(TypedDict, total=False):
    """What ``create`` takes by name."""

    adapters: Mapping[str, str] | None
    template: str | None
    license: str | Sequence[str] | None
    system: str | None
    parameters: OptionsLike | None
    messages: Messages | None


def chat(model: str, messages: Messages | None, more: Mapping[str, Any]) -> Call[types.ChatResponse]:
    """The next turn of a conversation."""
    given = _given("chat", more, ChatMore)
    turns = {"messages": message_documents(messages), "tools": tool_documents(given.pop("tools", None))}
    return Call("/api/chat", types.ChatResponse, {"model": model, **turns, **given}, streams=True)


def generate(
    model: str, prompt: str | None, suffix: str | None, more: Mapping[str, Any]
) -> Call[types.GenerateResponse]:
    """The answer to a prompt."""
    given = _given("generate", more, GenerateMore)
    images = {"images": image_texts(given.pop("images"))} if given.get("images") else {}
    texts = _said({"prompt": prompt, "suffix": suffix})
    return Call("/api/generate", types.GenerateResponse, {"model": model, **texts, **given, **images}, streams=True)


def embed(model: str, inputs: str | Sequence[str], **more: Any) -> Call[types.EmbedResponse]:
    """A vector for each input."""
    texts = inputs if isinstance(inputs, str) else list(inputs)
    return Call("/api/embed", types.EmbedResponse, {"model": model, "input": texts, **_said(more)})


def embeddings(model: str, prompt: str | None, **more: Any) -> Call[types.EmbeddingsResponse]:
    """The vector of one text, in the older way."""
    return Call("/api/embeddings", types.EmbeddingsResponse, {"model": model, "prompt": prompt or "", **_said(more)})


def create(
    model: str,
    quantize: str | None,
    from_: str | None,
    files: Mapping[str, str] | None,
    more: Mapping[str, Any],
) -> Call[types.ProgressResponse]:
    """A model made of others or of files."""
    given = _given("create", more, CreateMore)
    if "messages" in given:
        given["messages"] = message_documents(given["messages"])
    named = _said({"quantize": quantize, "from": from_, "files": files})
    return Call("/api/create", types.ProgressResponse, {"model": model, **named, **given}, streams=True)


def pull(model: str, insecure: bool) -> Call[types.ProgressResponse]:
    """Fetch a model."""
    return Call("/api/pull", types.ProgressResponse, {"model": model, "insecure": insecure}, streams=True)


def push(model: str, insecure: bool) -> Call[types.ProgressResponse]:
    """Upload a model."""
    return Call("/api/push", types.ProgressResponse, {"model": model, "insecure": insecure}, streams=True)


def delete(model: str) -> Call[types.StatusResponse]:
    """Remove a model."""
    return Call("/api/delete", types.StatusResponse, {"model": model}, "DELETE")


def copy(source: str, destination: str) -> Call[types.StatusResponse]:
    """Another name for a model."""
    return Call("/api/copy", types.StatusResponse, {"source": source, "destination": destination})


def show(model: str) -> Call[types.ShowResponse]:
    """What is known of a model."""
    return Call("/api/show", types.ShowResponse, {"model": model})


def listing() -> Call[types.ListResponse]:
    """The models that there are."""
    return Call("/api/tags", types.ListResponse, method="GET")


def running() -> Call[types.ProcessResponse]:
    """The models that are loaded."""
    return Call("/api/ps", types.ProcessResponse, method="GET")


def _given(name: str, more: Mapping[str, Any], known: type) -> dict[str, Any]:
    """Return what says something, as documents. Raises ``TypeError`` for a name that the call does not take."""
    taken = known.__annotations__
    unknown = next((each for each in more if each not in taken), None)
    if unknown:
        raise TypeError(f"{name}() got an unexpected keyword argument {unknown!r}; it takes {', '.join(taken)}")
    return _said(more)


def _said(more: Mapping[str, Any]) -> dict[str, Any]:
    """Return what says something, as documents where they are the same in every call."""
    given = {key: value for key, value in more.items() if value is not None}
    for key in ("options", "parameters"):
        if key in given:
            given[key] = option_document(given[key])
    return {key: value if key in ("tools", "messages", "images") else plain(value) for key, value in given.items()}
