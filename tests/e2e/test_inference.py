"""The drop-in for ``import ollama`` over the real engine, which speaks OpenAI's API alone."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision import inference
from tests.e2e.conftest import Served
from tests.e2e.openai_client import SCHEMA

pytestmark = pytest.mark.engine

HELLO = [{"role": "user", "content": "Say hello."}]
SHORT: dict[str, Any] = {"num_predict": 12, "temperature": 0, "seed": 1}
ROOT = Path(__file__).parents[2]


@pytest.fixture
def client(served: Served) -> Iterator[inference.Client]:
    """A client that is told the address alone, and has to find out what is spoken there."""
    with inference.Client(served.base_url.removesuffix("/v1"), env={}) as client:
        yield client


def test_a_turn_whole_and_in_pieces_is_the_same(client: inference.Client, served: Served) -> None:
    story = [{"role": "user", "content": "Tell me a long story."}]  # so that it does not come at once on a busy machine
    longer = {**SHORT, "num_predict": 48}
    client.list()
    began_ns = time.perf_counter_ns()
    whole = client.chat(served.model, story, options=longer)
    took_ns = time.perf_counter_ns() - began_ns
    assert whole.message.content
    assert whole["message"]["content"] == whole.message.content
    assert "thinking" not in whole.message
    assert (whole.model, whole.done, whole.done_reason) == (served.model, True, "length")
    parts = list(client.chat(served.model, story, options=longer, stream=True))
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    for told in (whole, parts[-1]):
        assert told.eval_count == 48
        assert told.prompt_eval_count
        assert told.prompt_eval_duration
        assert told.eval_duration
        assert told.total_duration
        assert told.prompt_eval_duration + told.eval_duration <= told.total_duration
    assert whole.total_duration
    assert whole.total_duration <= took_ns


def test_prompts_with_a_system_prompt_and_raw(client: inference.Client, served: Served) -> None:
    answer = client.generate(served.model, "Say hello.", system="Answer in one word.", options=SHORT)
    assert answer.response
    assert answer.done_reason in ("stop", "length")
    raw = client.generate(served.model, "One, two, three,", raw=True, options=SHORT)
    assert raw.response
    assert raw.prompt_eval_count
    assert answer.prompt_eval_count
    assert raw.prompt_eval_count < answer.prompt_eval_count, "no template around it"


def test_an_answer_keeps_to_a_schema(client: inference.Client, served: Served) -> None:
    question = [{"role": "user", "content": "Is all well? Answer in JSON."}]
    answer = client.chat(served.model, question, format=SCHEMA, options={"num_predict": 64, "temperature": 0})
    said = json.loads(answer.message.content or "")
    assert said.keys() == {"ok"}
    anything = client.chat(served.model, question, format="json", options={"num_predict": 256, "temperature": 0})
    assert (anything.message.content or "").lstrip().startswith(("{", "["))


def test_a_conversation_with_tools_is_taken(client: inference.Client, served: Served) -> None:
    """What such a small model makes of them is its own affair."""

    def weather(city: str) -> str:
        """Tell the weather.

        Args:
            city: Where
        """
        return f"sunny in {city}"

    called = {"function": {"name": "weather", "arguments": {"city": "Oslo"}}}
    history: list[dict[str, Any]] = [
        {"role": "user", "content": "What is the weather in Oslo?"},
        {"role": "assistant", "content": "", "thinking": "I ask.", "tool_calls": [called]},
        {"role": "tool", "tool_name": "weather", "content": weather("Oslo")},
    ]
    for turns in (history[:1], history):
        answer = client.chat(served.model, turns, tools=[weather], options=SHORT)
        assert answer.message.content or answer.message.tool_calls


def test_the_model_is_listed_shown_and_running(client: inference.Client, served: Served) -> None:
    (listed,) = client.list().models
    assert listed.model == served.model
    assert listed.size
    assert listed.details
    assert (listed.details.parameter_size or "").endswith("M")
    (running,) = client.ps().models
    assert running.model == served.model
    shown = client.show(served.model)
    assert shown.modelinfo
    assert shown.modelinfo["general.parameter_count"] > 100e6
    assert client.generate(served.model).done_reason == "load"


def test_what_is_not_there_is_told_as_by_ollama(client: inference.Client) -> None:
    with pytest.raises(inference.ResponseError, match="'nothere' not found") as caught:
        client.show("nothere")
    assert caught.value.status_code == 404
    with pytest.raises(inference.ResponseError, match="fabric models pull"):
        client.pull("qwen3:4b")
    with pytest.raises(inference.ResponseError) as refused:
        client.chat("nothere", [{"role": "nobody", "content": {"a": 1}}])
    assert refused.value.status_code >= 400


def test_what_is_awaited_and_logprobs(served: Served) -> None:
    async def ask() -> None:
        async with inference.AsyncClient(served.base_url, env={}, backend="llamacpp") as client:
            answer = await client.chat(served.model, HELLO, logprobs=True, top_logprobs=2, options=SHORT)
            assert answer.logprobs
            assert len(answer.logprobs) == 12
            assert all(row.logprob <= 0 and len(row.top_logprobs or ()) == 2 for row in answer.logprobs)
            parts = [part async for part in await client.generate(served.model, "Hi", stream=True, options=SHORT)]
            assert parts[-1].eval_count

    asyncio.run(ask())


def test_a_program_changes_one_line(served: Served) -> None:
    """As in the README: the import alone is another, the environment says where."""
    program = "from provision import inference as ollama\n" + (
        "answer = ollama.chat(model='llamacpp/MODEL', messages=[{'role': 'user', 'content': 'Hi'}])\n"
        "print(answer['message']['content'])\n"
    ).replace("MODEL", served.model)
    env = {**os.environ, "LLAMACPP_BASE_URL": served.base_url, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.strip(), done.stderr
    assert done.stderr == "", "nothing is left open"
