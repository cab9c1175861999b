"""Answers of the port as documents of Ollama's API. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from provision.client.answers import Completion, Embeddings, ServedModel, Timing, ToolCall
from provision.inference.errors import ResponseError

Shape = Callable[[str, str, Sequence[ToolCall]], dict[str, Any]]

_REASONS = {"tool_calls": "stop", "function_call": "stop"}


def now() -> str:
    """Return the time as Ollama writes it."""
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")


def head(model: str) -> dict[str, Any]:
    """Return how every piece of an answer begins."""
    return {"model": model, "created_at": now()}


def as_message(text: str, thought: str, calls: Sequence[ToolCall]) -> dict[str, Any]:
    """Return what a piece of a conversation says."""
    called = {"tool_calls": [_called(call) for call in calls]} if calls else {}
    return {"message": {"role": "assistant", "content": text, **_thinking(thought), **called}}


def as_response(text: str, thought: str, _: Sequence[ToolCall]) -> dict[str, Any]:
    """Return what a piece of an answer to a prompt says."""
    return {"response": text, **_thinking(thought)}


def likely(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the probabilities of a piece's tokens, where they are told."""
    return {"logprobs": list(rows)} if rows else {}


def ending(whole: Completion) -> dict[str, Any]:
    """Return what the last piece tells: why it is the last, counts, and durations in nanoseconds."""
    reason = whole.finish_reason or "stop"
    usage = whole.usage
    counts = {"prompt_eval_count": usage.prompt_tokens, "eval_count": usage.completion_tokens} if usage else {}
    return {"done": True, "done_reason": _REASONS.get(reason, reason), **_durations(whole.timing), **counts}


def without_answer(reason: str) -> dict[str, Any]:
    """Return the last piece of an answer to nothing: a model was to be loaded, or let go."""
    return {"done": True, "done_reason": reason}


def embedded(found: Embeddings, took_ns: int) -> dict[str, Any]:
    """Return the vectors of several inputs."""
    counts = {"prompt_eval_count": found.usage.prompt_tokens} if found.usage else {}
    vectors = [list(vector) for vector in found.vectors]
    return {"embeddings": vectors, "total_duration": took_ns, "load_duration": 0, **counts}


def listed(model: ServedModel) -> dict[str, Any]:
    """Return a row of the list of models: what its server does not tell is empty."""
    told = _told(model)
    size = {"size": told["size"]} if "size" in told else {}
    made = {"modified_at": _stamp(model)} if model.created else {}
    return {"name": model.id, "model": model.id, "digest": "", **size, **made, "details": _details(model)}


def loaded(model: ServedModel) -> dict[str, Any]:
    """Return a row of the list of models in memory."""
    row = {name: value for name, value in listed(model).items() if name != "modified_at"}
    context = _context(model)
    return {**row, **({"context_length": context} if context else {})}


def shown(model: ServedModel) -> dict[str, Any]:
    """Return what is known of a model."""
    told, context = _told(model), _context(model)
    info = {
        "general.basename": model.id,
        **({"general.parameter_count": told["n_params"]} if "n_params" in told else {}),
        **({"general.context_length": context} if context else {}),
    }
    made = {"modified_at": _stamp(model)} if model.created else {}
    return {**made, "details": _details(model), "model_info": info, "capabilities": ["completion"]}


def _durations(timing: Timing) -> dict[str, Any]:
    """Return what was measured on the wire; of an answer in one piece, all of the time is that of writing it."""
    total, reading = timing.ended_ns - timing.sent_ns, timing.first_ns - timing.sent_ns
    reading = 0 if reading == total else reading
    measured = {"prompt_eval_duration": reading, "eval_duration": total - reading}
    return {"total_duration": total, "load_duration": 0, **measured}


def _called(call: ToolCall) -> dict[str, Any]:
    try:
        return {"function": {"name": call.name, "arguments": call.parsed()}}
    except ValueError as error:
        raise ResponseError(f"The model calls {call.name} with arguments that are no JSON object: {error}.") from error


def _thinking(thought: str) -> dict[str, Any]:
    return {"thinking": thought} if thought else {}


def _stamp(model: ServedModel) -> str:
    return datetime.fromtimestamp(model.created, timezone.utc).isoformat()


def _told(model: ServedModel) -> Mapping[str, Any]:
    """Return what some servers tell of a model's file."""
    told = model.raw.get("meta")
    return {name: value for name, value in told.items() if value} if isinstance(told, Mapping) else {}


def _context(model: ServedModel) -> int | None:
    """Return how many tokens of context a model has where its server tells, by one of the names that are in use."""
    places = {**_told(model), **model.raw}
    names = ("n_ctx", "max_model_len", "loaded_context_length", "context_length", "n_ctx_train")
    return next((int(places[name]) for name in names if isinstance(places.get(name), int)), None)


def _details(model: ServedModel) -> dict[str, Any]:
    count = _told(model).get("n_params")
    size = {"parameter_size": f"{count / 1e9:.2f}B" if count >= 1e9 else f"{count / 1e6:.2f}M"} if count else {}
    return {"parent_model": "", "family": "", **size}
