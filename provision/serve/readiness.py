"""Waiting for a server until it has proved itself, or it is clear that it never will."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event, Thread
from typing import Any

from provision.domain.server import Observation, ProcessIdentity, ServerState
from provision.host.chat_request import CHAT_PATH, ask
from provision.host.endpoint import Response
from provision.host.server_said import server_said
from provision.serve.observation import Server
from provision.serve.waiting import POLL_S, ServerFailedError, Waiting, WaitLimits, failed, hint_for, with_last_words

FIRST_TOKEN_TIMEOUT_S = 300.0
LOADING_TIMEOUT_S = 3600.0  # the wait ends far sooner where nothing moves
MOST_UNANSWERED = 3  # requests that one process accepts and never answers


class CannotGenerateError(ServerFailedError):
    """The server is up, and of no use. ``reason`` is what to tell of it from now on."""

    def __init__(self, reason: str, message: str, hint: str | None) -> None:
        super().__init__(message, hint)
        self.reason = reason


def wait_until_ready(
    server: Server, model: str, limits: WaitLimits, proved: Callable[[Observation], bool]
) -> Observation:
    """Return once health is good, ``model`` is listed and, unless that was ``proved`` before, a token is generated.

    Raises ``CannotGenerateError`` where it answers and generates nothing, or not as was chosen, and
    ``ServerFailedError`` where it fails, stops making progress or runs out of time: with the decoded reason and the
    last lines of its log.
    """
    waiting, unanswered = Waiting(server, limits), list[ProcessIdentity | None]()
    while True:
        seen = server.observe()
        if seen.state is ServerState.READY:
            if proved(seen):
                return seen
            answer = _first_answer(server, model, waiting)
            if answer.status != 0:
                _check_generated(server, answer)
                return seen
            unanswered.append(seen.runtime.server if seen.runtime else None)
            if server.is_remote or unanswered.count(unanswered[-1]) == MOST_UNANSWERED:
                raise failed(server, seen, f"it is up and does not answer: {answer.error}")
            seen = server.observe()  # it may have ended over the question
        waiting.go_on(seen)


def _first_answer(server: Server, model: str, waiting: Waiting) -> Response:
    """Have the server generate. An engine may load the model only now, and say only now that it cannot."""
    request = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    if server.is_remote:
        return ask(request, lambda asked: server.client().post(CHAT_PATH, asked, waiting.step_s(FIRST_TOKEN_TIMEOUT_S)))
    return ask(request, lambda asked: _answer_of_ours(server, asked, waiting))


def _answer_of_ours(server: Server, request: Mapping[str, Any], waiting: Waiting) -> Response:
    """Return the answer to one request, however long it takes, as long as the server gets anywhere.

    It is not asked how it is meanwhile: each question would be a line in its log, which looks like progress.
    """
    answers, answered = list[Response](), Event()

    def post() -> None:
        answers.append(server.client().post(CHAT_PATH, request, LOADING_TIMEOUT_S))
        answered.set()

    Thread(target=post, daemon=True).start()
    while not answered.wait(POLL_S):
        if (runtime := server.runtime()) is not None:
            waiting.go_on(Observation(runtime.state, runtime), answered.wait)
    return answers[0]


def _check_generated(server: Server, answer: Response) -> None:
    """Raise ``CannotGenerateError`` for an answer without a token, and for a server that breaks its word."""
    document = answer.json()
    if answer.status != 200 or not isinstance(document, dict) or not document.get("choices"):
        known = server.known_failure(answer.body.decode("utf-8", "replace"))
        reason = f"it cannot generate: {known.reason if known else server_said(answer.body)}"
        raise _of_no_use(server, reason, known.hint if known else None)
    broken = server.broken_promise()
    if broken:
        raise _of_no_use(server, f"it {broken}", "Choose a smaller --context, or another model.")


def _of_no_use(server: Server, reason: str, hint: str | None) -> CannotGenerateError:
    message = with_last_words(f"The server is up, but {reason}.", server)
    return CannotGenerateError(reason, message, hint or hint_for(server))
