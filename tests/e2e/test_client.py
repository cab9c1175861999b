"""``provision.client`` with the real llama.cpp, started in ways that ``fabric up`` does not start it."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
import urllib3
from openai import OpenAI

from provision.client import OpenAICompatibleClient, RoutedClient, SyncClient
from tests.e2e.conftest import Served
from tests.e2e.llama_variant import TEMPLATE_WITH_TOOLS, WITH_EMBEDDINGS, serving_variant
from tests.e2e.our_client import WEATHER, call_a_tool
from tests.standin.command import eventually

pytestmark = pytest.mark.engine


def asked_before(city: str) -> list[dict[str, Any]]:
    call = {"name": "weather", "arguments": {"city": city}}
    return [{"role": "user", "content": city}, {"role": "assistant", "content": json.dumps(call)}]


CITIES: list[Any] = [*asked_before("Rome"), *asked_before("Oslo"), {"role": "user", "content": "Paris"}]


def test_tools_are_called(served: Served, tmp_path: Path) -> None:
    async def ask(base_url: str) -> None:
        async with OpenAICompatibleClient(base_url) as client:
            await call_a_tool(client, served.model, CITIES, "required")
            await call_a_tool(client, served.model, CITIES, "auto")

    with serving_variant(served.prefix, tmp_path, {"chat_template": TEMPLATE_WITH_TOOLS}) as base_url:
        asyncio.run(ask(base_url))
        with OpenAI(base_url=base_url, api_key="none", max_retries=0) as openai:
            tools: list[Any] = [WEATHER]
            answer = openai.chat.completions.create(
                model=served.model, messages=CITIES, tools=tools, tool_choice="required", temperature=0, max_tokens=60
            )
        (call,) = answer.choices[0].message.tool_calls or []
        assert call.type == "function"
        assert json.loads(call.function.arguments) == {"city": "Paris"}


def test_texts_become_vectors(served: Served, tmp_path: Path) -> None:
    texts = ["The cat sleeps.", "A cat is asleep.", "Interest rates rose."]
    with serving_variant(served.prefix, tmp_path, WITH_EMBEDDINGS) as base_url:
        with SyncClient(OpenAICompatibleClient(base_url)) as client:
            found = client.embed(texts, served.model)
            (alone,) = client.embed(texts[1], served.model).vectors
        with OpenAI(base_url=base_url, api_key="none", max_retries=0) as openai:
            theirs = openai.embeddings.create(model=served.model, input=texts, encoding_format="float")
    assert len(found.vectors) == len(texts)
    assert found.usage is not None
    assert found.usage.prompt_tokens > len(texts)
    for ours, official in zip(found.vectors, theirs.data, strict=True):
        assert ours == pytest.approx(official.embedding, abs=1e-4)
    assert found.vectors[1] == pytest.approx(alone, abs=0.02)  # batching changes the order of sums
    assert near(found.vectors[0], found.vectors[1]) > near(found.vectors[0], found.vectors[2])


def near(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Return the cosine of the angle between two vectors of length one."""
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_leaving_an_answer_stops_its_generation(served: Served) -> None:
    long: Any = {"ignore_eos": True}

    async def leave() -> None:
        async with OpenAICompatibleClient(served.base_url) as client:
            async for _ in client.stream("Count to a thousand.", served.model, extra=long):
                break
            assert await asyncio.to_thread(eventually, lambda: processing(served) == 0)
            wanted = client.complete("Count to a thousand.", served.model, extra=long)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(wanted, 0.5)
            assert await asyncio.to_thread(eventually, lambda: processing(served) == 0)
        with SyncClient(OpenAICompatibleClient(served.base_url)) as sync:
            for _ in sync.stream("Count to a thousand.", served.model, extra=long):
                break
            assert eventually(lambda: processing(served) == 0)

    began = time.monotonic()
    asyncio.run(leave())
    assert time.monotonic() - began < 10, "all of the context would have taken half a minute, three times"


def processing(served: Served) -> float:
    """Return how many requests the server is working at."""
    said = urllib3.request("GET", served.base_url.replace("/v1", "/metrics"), timeout=10).data.decode()
    (line,) = [line for line in said.splitlines() if line.startswith("llamacpp:requests_processing ")]
    return float(line.split()[1])


def test_a_prefix_leads_to_the_server(served: Served) -> None:
    env = {"LLAMACPP_BASE_URL": served.base_url, "VLLM_BASE_URL": "http://127.0.0.1:9"}
    with SyncClient(RoutedClient(env=env)) as client:
        assert client.chat("Say hello.", f"llamacpp/{served.model}", max_tokens=4)
    with SyncClient(RoutedClient(env={**env, "INFERENCE_BACKEND": "llamacpp"})) as client:
        assert client.chat("Say hello.", served.model, max_tokens=4)
        assert [each.id for each in client.models()] == [served.model]
