"""Proving that a server answers on every surface that clients use.

What is asserted is structure and token counts, never what a small model says.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from provision.domain.frozen import frozen
from provision.domain.measure import SmokeCheck, SmokeReport
from provision.host.chat_request import CHAT_PATH, ask
from provision.host.endpoint import EndpointClient, Response
from provision.host.recording import record
from provision.host.server_said import server_said
from provision.observe.chat_stream import parse_recording

MODELS_PATH = "/v1/models"
LIST_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 120.0
SHORT_ANSWER_TOKENS = 8
# A model that thinks first needs room for it; one that does not stops when the object is complete.
SCHEMA_ANSWER_TOKENS = 512
SCHEMA_PROPERTY = "ok"
SCHEMA = {
    "type": "object",
    "properties": {SCHEMA_PROPERTY: {"type": "boolean"}},
    "required": [SCHEMA_PROPERTY],
    "additionalProperties": False,
}


Serves = Callable[[Sequence[object], str], bool]


class _FailedError(Exception):
    """A surface failed; the text says how."""


class _NoAnswerError(_FailedError):
    """Nobody answered: asking for more would only take time."""


@frozen
class _Target:
    client: EndpointClient
    model: str
    timeout_s: float
    serves: Serves

    def chat(self, text: str, max_tokens: int, **more: Any) -> dict[str, Any]:
        """Return a request; greedy, because a test should not throw dice."""
        messages = [{"role": "user", "content": text}]
        return {"model": self.model, "messages": messages, "max_tokens": max_tokens, "temperature": 0, **more}

    def answer(self, request: dict[str, Any]) -> Response:
        """Return the whole answer to a request."""
        return ask(request, lambda asked: self.client.post(CHAT_PATH, asked, self.timeout_s))


def run(client: EndpointClient, model: str, serves: Serves, timeout_s: float = ANSWER_TIMEOUT_S) -> SmokeReport:
    """Make every check in order; ``timeout_s`` bounds the wait for one answer. Never raises for a bad server.

    ``serves`` tells whether names that a server lists have the model, as ``Engine.serves`` does.
    """
    target = _Target(client, model, timeout_s, serves)
    checks: list[SmokeCheck] = []
    unanswered: str | None = None
    for name, check in CHECKS.items():
        if unanswered:
            checks.append(SmokeCheck(name, False, f"not asked, because {unanswered} got no answer", 0.0))
            continue
        started = time.perf_counter()
        try:
            ok, detail = True, check(target)
        except _FailedError as failure:
            ok, detail = False, str(failure)
            unanswered = name if isinstance(failure, _NoAnswerError) else None
        checks.append(SmokeCheck(name, ok, detail, (time.perf_counter() - started) * 1e3))
    return SmokeReport(tuple(checks))


def _models(target: _Target) -> str:
    """Check that the list names the model."""
    surface = f"GET {MODELS_PATH}"
    document = _document(surface, target.client.get(MODELS_PATH, LIST_TIMEOUT_S))
    rows = document.get("data")
    if not isinstance(rows, list):
        raise _FailedError(f"{surface}: no list in 'data'")
    names = [str(row.get("id")) for row in rows if isinstance(row, dict)]
    if not target.serves(names, target.model):
        raise _FailedError(f"{surface}: lists {', '.join(names) or 'nothing'}, not {target.model}")
    return f"{target.model} is listed"


def _chat(target: _Target) -> str:
    """Check one whole answer: a message with text, a finish reason, and counts."""
    surface = f"POST {CHAT_PATH}"
    document = _document(surface, target.answer(target.chat("Say hello.", SHORT_ANSWER_TOKENS)))
    message, finish_reason = _first_choice(surface, document)
    if not (message.get("content") or message.get("reasoning_content") or message.get("reasoning")):
        raise _FailedError(f"{surface}: the message is empty")
    if not isinstance(finish_reason, str):
        raise _FailedError(f"{surface}: no finish_reason")
    prompt, completion = _counts(surface, document.get("usage"))
    return f"{completion} tokens for {prompt}, finish_reason {finish_reason}"


def _stream(target: _Target) -> str:
    """Check a streamed answer: output in pieces, a finish reason, usage, and the end that clients wait for."""
    surface = f"POST {CHAT_PATH} (stream)"
    request = target.chat("Say hello.", SHORT_ANSWER_TOKENS, stream=True, stream_options={"include_usage": True})
    recording = ask(request, lambda asked: record(target.client, CHAT_PATH, asked, target.timeout_s))
    if recording.status == 0:
        raise _NoAnswerError(f"{surface}: {recording.error}")
    if recording.status != 200:
        raise _FailedError(f"{surface}: HTTP {recording.status}: {server_said(recording.body)}")
    stream = parse_recording(recording)
    if not stream.chunks and not stream.error:
        raise _FailedError(f"{surface}: not an event stream: {recording.error or server_said(recording.body)}")
    problems = {
        f"broke off after {len(stream.deltas)} pieces: {recording.error}": recording.error,
        f"the server reported: {stream.error}": stream.error,
        f"{stream.broken}": stream.broken,
        "no piece of output": not stream.deltas,
        "no finish_reason": not stream.finish_reason,
        "did not end with [DONE]": not stream.done,
    }
    for problem, is_so in problems.items():
        if is_so:
            raise _FailedError(f"{surface}: {problem}")
    prompt, completion = _counts(surface, stream.usage)
    return f"{completion} tokens in {len(stream.deltas)} pieces for {prompt}, usage and [DONE]"


def _json_schema(target: _Target) -> str:
    """Check that an answer is held to a schema."""
    surface = f"POST {CHAT_PATH} (json_schema)"
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}}
    text = f'Is water wet? Answer with a JSON object like {{"{SCHEMA_PROPERTY}": true}}.'
    request = target.chat(text, SCHEMA_ANSWER_TOKENS, response_format=wanted)
    document = _document(surface, target.answer(request))
    message, finish_reason = _first_choice(surface, document)
    content = str(message.get("content") or "")
    if finish_reason == "length":
        raise _FailedError(f"{surface}: no complete object within {SCHEMA_ANSWER_TOKENS} tokens")
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        raise _FailedError(f"{surface}: the answer is not JSON: {content[:80]!r}") from None
    if not fits_schema(answer):
        raise _FailedError(f"{surface}: the answer does not fit the schema: {content[:80]!r}")
    return "the answer parses and fits the schema"


def fits_schema(answer: Any) -> bool:
    """Tell whether ``answer`` fits ``SCHEMA``."""
    return isinstance(answer, dict) and set(answer) == {SCHEMA_PROPERTY} and isinstance(answer[SCHEMA_PROPERTY], bool)


CHECKS: dict[str, Callable[[_Target], str]] = {
    "models": _models,
    "chat": _chat,
    "stream": _stream,
    "json_schema": _json_schema,
}


def _document(surface: str, response: Response) -> dict[str, Any]:
    if response.status == 0:
        raise _NoAnswerError(f"{surface}: no answer: {response.error}")
    if response.status != 200:
        raise _FailedError(f"{surface}: HTTP {response.status}: {server_said(response.body)}")
    document = response.json()
    if not isinstance(document, dict):
        raise _FailedError(f"{surface}: not a JSON object: {server_said(response.body)}")
    if document.get("error"):
        raise _FailedError(f"{surface}: {server_said(response.body)}")
    return document


def _first_choice(surface: str, document: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise _FailedError(f"{surface}: no message in 'choices'")
    return message, choice.get("finish_reason")


def _counts(surface: str, usage: Any) -> tuple[int, int]:
    if not isinstance(usage, dict):
        raise _FailedError(f"{surface}: no usage")
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    numbers = [count for count in counts if isinstance(count, int) and count >= 1]
    if len(numbers) != len(counts):
        raise _FailedError(f"{surface}: usage counts {counts[0]} prompt and {counts[1]} completion tokens")
    return numbers[0], numbers[1]
