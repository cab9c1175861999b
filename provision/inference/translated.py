"""A server that speaks OpenAI's API: requests are translated for it, and its answers back."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

from provision.client.answers import ServedModel
from provision.client.openai_compatible import OpenAICompatibleClient
from provision.client.port import AnswerStream
from provision.inference import answers
from provision.inference.calls import Call
from provision.inference.errors import NOT_IMPLEMENTED, ResponseError
from provision.inference.requests import chat_options, conversation, embed_dimensions, is_text, seconds, text_fields
from provision.knowledge.routes import Backend as Row

NOT_FOUND = 404
_SHAPES: dict[str, answers.Shape] = {"/api/chat": answers.as_message, "/api/generate": answers.as_response}


class TranslatedBackend:
    """See ``Backend``. ``row`` says what the server takes; what it does not is left out, or refused if ``strict``."""

    def __init__(self, client: OpenAICompatibleClient, row: Row, *, strict: bool) -> None:
        self._client = client
        self._row = row
        self._strict = strict

    @property
    def keeps_alive(self) -> bool:
        return self._row.keep_alive is not None

    async def whole(self, call: Call[Any]) -> dict[str, Any]:
        if call.path in _SHAPES:
            return await self._answer(call)
        others: dict[str, Callable[[Call[Any]], Awaitable[dict[str, Any]]]] = {
            "/api/embed": self._embed,
            "/api/embeddings": self._embed_one,
            "/api/tags": self._list,
            "/api/ps": self._running,
            "/api/show": self._show,
        }
        if call.path not in others:
            raise _elsewhere(call)
        return await others[call.path](call)

    async def pieces(self, call: Call[Any]) -> AsyncGenerator[dict[str, Any], None]:
        if call.path not in _SHAPES:
            raise _elsewhere(call)
        model, shape = str(call.model), _SHAPES[call.path]
        stream = self._stream(call)
        if stream is None:
            yield await self._loaded(call)
            return
        async with stream:
            async for delta in stream:
                if delta.content or delta.reasoning or delta.logprobs:
                    said = shape(delta.content, delta.reasoning, ())
                    yield {**answers.head(model), **said, **answers.likely(delta.logprobs), "done": False}
            whole = stream.completion()
        if whole.tool_calls:
            yield {**answers.head(model), **shape("", "", whole.tool_calls), "done": False}
        yield {**answers.head(model), **shape("", "", ()), **answers.ending(whole)}

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _answer(self, call: Call[Any]) -> dict[str, Any]:
        """Return the whole answer; it is asked for in pieces, because only they tell when the first token came."""
        stream = self._stream(call)
        if stream is None:
            return await self._loaded(call)
        async with stream:
            async for _ in stream:
                pass
            whole = stream.completion()
        said = _SHAPES[call.path](whole.content, whole.reasoning, whole.tool_calls)
        return {**answers.head(str(call.model)), **said, **answers.likely(whole.logprobs), **answers.ending(whole)}

    def _stream(self, call: Call[Any]) -> AnswerStream | None:
        """Return the answer as it comes; ``None`` where there is nothing to be answered."""
        document, model = call.document or {}, str(call.model)
        if is_text(document):
            fields = text_fields(document, self._row, strict=self._strict)
            return self._client.continue_text(document.get("prompt", ""), model, fields)
        options = chat_options(document, self._row, strict=self._strict)
        messages = conversation(document)
        return self._client.stream(messages, model, **options) if messages else None

    async def _loaded(self, call: Call[Any]) -> dict[str, Any]:
        """Answer to nothing, which is a wish to load the model: this server has it, or has it not."""
        await self._find(call)
        keep_alive = (call.document or {}).get("keep_alive")
        reason = "unload" if keep_alive is not None and seconds(keep_alive) == 0 else "load"
        said = _SHAPES[call.path]("", "", ())
        return {**answers.head(str(call.model)), **said, **answers.without_answer(reason)}

    async def _embed(self, call: Call[Any]) -> dict[str, Any]:
        return await self._embedded(call, (call.document or {})["input"])

    async def _embed_one(self, call: Call[Any]) -> dict[str, Any]:
        found = await self._embedded(call, (call.document or {})["prompt"])
        return {"embedding": found["embeddings"][0]}

    async def _embedded(self, call: Call[Any], inputs: str | Sequence[str]) -> dict[str, Any]:
        dimensions = embed_dimensions(call.document or {}, self._row, strict=self._strict)
        began_ns = time.perf_counter_ns()
        found = await self._client.embed(inputs, str(call.model), dimensions=dimensions)
        return {"model": str(call.model), **answers.embedded(found, time.perf_counter_ns() - began_ns)}

    async def _list(self, _: Call[Any]) -> dict[str, Any]:
        return {"models": [answers.listed(model) for model in await self._client.models()]}

    async def _running(self, _: Call[Any]) -> dict[str, Any]:
        return {"models": [answers.loaded(model) for model in await self._client.models()]}

    async def _show(self, call: Call[Any]) -> dict[str, Any]:
        return answers.shown(await self._find(call))

    async def _find(self, call: Call[Any]) -> ServedModel:
        """Return the model as the server lists it; of a name without a tag ``latest`` is meant."""
        named = {model.id.removesuffix(":latest"): model for model in await self._client.models()}
        found = named.get(str(call.model).removesuffix(":latest"))
        if found is None:
            known = ", ".join(named) or "none"
            raise ResponseError(f"model {str(call.model)!r} not found; the server lists: {known}", NOT_FOUND)
        return found


def _elsewhere(call: Call[Any]) -> ResponseError:
    """Return the error for what OpenAI's API has no words for."""
    what = call.path.rpartition("/")[2]
    return ResponseError(
        f"{what}: this server speaks OpenAI's API, which cannot change its models. `fabric models pull` gets a model, "
        "`fabric models rm` removes one, and `fabric up --model` serves it.",
        NOT_IMPLEMENTED,
    )
