"""The clients on scripted servers: where calls go, what goes with them, what was measured, and what goes wrong."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from provision import inference
from tests.standin.command import eventually, free_port
from tests.standin.ollama_server import OllamaServer
from tests.standin.openai_answer import THOUGHTS, WORD
from tests.standin.openai_server import OpenAIServer, Script, serving
from tests.unit.inference.conftest import MODEL

HELLO = [{"role": "user", "content": "Say hello."}]


def answer_of(message: dict[str, Any], finish_reason: str = "stop") -> Script:
    """A server that always answers this, at once."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}
    return Script(answer=(200, json.dumps({"choices": [choice]})))


def client_of(server: OpenAIServer, **more: Any) -> inference.Client:
    return inference.Client(server.base_url, env={}, **more)


def test_times_are_those_of_the_wire() -> None:
    with serving(Script(tokens=5, prompt_s=0.1, token_s=0.05)) as server, client_of(server) as client:
        client.list()  # connected
        began_ns = time.perf_counter_ns()
        answer = client.chat("scripted", HELLO)
        took_ns = time.perf_counter_ns() - began_ns
        *_, last = client.chat("scripted", HELLO, stream=True)
    for told in (answer, last):
        assert told.total_duration is not None
        assert told.prompt_eval_duration is not None
        assert told.eval_duration is not None
        assert told.prompt_eval_duration >= 0.1e9
        assert told.prompt_eval_duration + told.eval_duration >= 0.1e9 + 4 * 0.05e9  # wherever the first is read
        assert told.load_duration == 0
        assert told.prompt_eval_duration + told.eval_duration <= told.total_duration
        assert told.eval_count == 5
    assert answer.total_duration is not None
    assert answer.total_duration <= took_ns


def test_an_answer_in_one_piece_has_a_speed_too() -> None:
    with serving(answer_of({"content": "<think>why</think>because"})) as server, client_of(server) as client:
        answer = client.generate("scripted", "Why?")
    assert (answer.thinking, answer.response) == ("why", "because")
    assert answer.eval_duration == answer.total_duration
    assert answer.prompt_eval_duration == 0


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_thinking_comes_apart_in_a_stream(name: str) -> None:
    with serving(Script(tokens=4, reasoning=THOUGHTS, reasoning_name=name)) as server, client_of(server) as client:
        parts = list(client.generate("scripted", "Why?", stream=True))
    assert [part.thinking for part in parts] == [WORD, WORD, None, None, None]
    assert "".join(part.response or "" for part in parts) == WORD * 2


def test_arguments_that_are_no_object_are_told() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{nonsense"}}
    refused = pytest.raises(inference.ResponseError, match="f with arguments that are no JSON object")
    script = answer_of({"content": "", "tool_calls": [call]}, "tool_calls")
    with serving(script) as server, client_of(server) as client, refused:
        client.chat("scripted", HELLO)


def test_a_host_is_asked_once_what_it_speaks() -> None:
    with serving(Script(tokens=1)) as server, inference.Client(server.base_url.removesuffix("/v1"), env={}) as client:
        for _ in range(3):
            client.chat("scripted", HELLO)
        assert server.other_paths == ["/api/version"]
    with serving(Script(tokens=1)) as server, client_of(server) as client:
        client.chat("scripted", HELLO)
        assert server.other_paths == []


def test_models_go_where_the_routing_says(both_apis: OllamaServer) -> None:
    with serving(Script(tokens=1)) as server:
        env = {"OLLAMA_HOST": f"127.0.0.1:{both_apis.port}", "VLLM_BASE_URL": server.base_url}
        with inference.OllamaLike(env=env) as client:
            assert client.chat("vllm/scripted", HELLO).model == "scripted"
            assert client.chat(MODEL, HELLO, options={"num_predict": 2, "num_ctx": 512}).eval_count == 2
            assert [model.context_length for model in client.ps().models] == [512], "its own API was asked"
            assert [model.model for model in client.list().models] == [f"{MODEL}:latest"]
        assert [chat["model"] for chat in server.chats] == ["scripted"]
        assert server.other_paths == []


def test_a_keep_alive_goes_with_every_call_where_the_backend_knows_one(both_apis: OllamaServer) -> None:
    with inference.OllamaLike(both_apis.base_url, keep_alive="2h", env={}) as client:
        client.generate(MODEL)
        (running,) = client.ps().models
        assert running.expires_at is not None
        assert running.expires_at.timestamp() - time.time() == pytest.approx(7200, abs=60)
        client.generate(MODEL, keep_alive=0)
        assert client.ps().models == []
    for backend, sent in (("lm_studio", {"ttl": 7200}), ("vllm", {})):
        with (
            serving(Script(tokens=1)) as server,
            client_of(server, keep_alive="2h", strict=True, backend=backend) as client,
        ):
            client.chat("scripted", HELLO)
        assert {name: value for name, value in server.chats[0].items() if name == "ttl"} == sent


def test_strict_refuses_before_anything_is_sent() -> None:
    with serving(Script()) as server, client_of(server, strict=True, backend="vllm") as client:
        with pytest.raises(inference.RequestError, match=r"'num_ctx'.*fabric up --context"):
            client.chat("scripted", HELLO, options={"num_ctx": 1})
        with pytest.raises(inference.RequestError, match="'template'"):
            list(client.generate("scripted", "x", template="y", stream=True))
        assert server.chats == []


def test_nobody_there_is_a_connection_error() -> None:
    client = inference.Client(f"127.0.0.1:{free_port()}", env={})
    for call in (lambda: client.chat("m", HELLO), lambda: list(client.generate("m", "x", stream=True)), client.list):
        with pytest.raises(ConnectionError, match="Connection refused"):
            call()


def test_what_cannot_be_asked_is_a_request_error() -> None:
    with pytest.raises(inference.RequestError, match="No model is named"):
        inference.Client("127.0.0.1:1", env={}).chat("", HELLO)
    with pytest.raises(inference.RequestError, match=r"no backend 'vlm'\. Did you mean 'vllm'"):
        inference.Client("127.0.0.1:1", env={}, backend="vlm")
    for host in ("http://user:secret@127.0.0.1", "http://169.254.169.254"):
        with pytest.raises(inference.RequestError) as caught:
            inference.Client(host, env={})
        assert "secret" not in str(caught.value)
    with pytest.raises(inference.RequestError, match="without encryption"):
        inference.Client("http://example.com", env={"OLLAMA_API_KEY": "k"})


@pytest.mark.parametrize(
    "host", ["http://user:secret@h", "http://169.254.169.254", "127.0.0.1:99999", "ftp://h", "http://example.com"]
)
def test_a_host_that_cannot_be_used_is_blamed_by_its_name(host: str) -> None:
    env = {"OLLAMA_HOST": host, "OLLAMA_API_KEY": "k"}
    client = inference.Client(env=env)
    for call in (client.list, lambda: client.chat("m", HELLO)):
        with pytest.raises(inference.RequestError, match=r"^OLLAMA_HOST cannot be used") as caught:
            call()
        assert "secret" not in str(caught.value)
    with pytest.raises(inference.RequestError, match=r"^OLLAMA_BASE_URL cannot be used"):
        inference.Client(env={**env, "OLLAMA_BASE_URL": "http://user:secret@h"}).list()


@pytest.mark.parametrize("timeout", [0.2, httpx.Timeout(None, connect=1, read=0.2), httpx.Timeout(0.2)])
def test_a_timeout_is_a_number_or_what_http_libraries_take(timeout: Any) -> None:
    silent = pytest.raises(ConnectionError, match=r"no answer within 0\.2 s")
    with serving(Script(prompt_s=5)) as server, client_of(server, timeout=timeout) as client, silent:
        client.chat("scripted", HELLO)


def test_a_refusal_carries_the_servers_words_and_status() -> None:
    script = Script(answer=(418, '{"error": {"message": "teapot"}}'))
    with serving(script) as server, client_of(server) as client, pytest.raises(inference.ResponseError) as caught:
        client.chat("scripted", HELLO)
    assert (caught.value.error, caught.value.status_code) == ("teapot", 418)
    assert str(caught.value) == "teapot (status code: 418)"


def test_an_error_in_the_middle_ends_the_stream_with_it() -> None:
    with serving(Script(tokens=5, error_after=2)) as server, client_of(server) as client:
        stream = client.chat("scripted", HELLO, stream=True)
        assert [next(stream).message.content for _ in range(2)] == [WORD, WORD]
        with pytest.raises(inference.ResponseError, match="out of memory"):
            next(stream)


def test_leaving_a_stream_stops_the_generation() -> None:
    with serving(Script(token_s=0.01)) as server, client_of(server) as client:
        for _ in client.chat("scripted", HELLO, stream=True, options={"num_predict": 10_000}):
            break
        gc.collect()
        assert eventually(lambda: server.busy == 0)


def test_a_task_that_is_cancelled_stops_the_generation() -> None:
    async def ask(server: OpenAIServer) -> None:
        async with inference.AsyncClient(server.base_url, env={}) as client:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.chat("scripted", HELLO, options={"num_predict": 10_000}), 0.2)

    with serving(Script(token_s=0.01)) as server:
        asyncio.run(ask(server))
        assert eventually(lambda: server.busy == 0)


def test_without_await_it_works_in_threads_and_in_a_running_loop() -> None:
    async def in_a_loop(client: inference.Client) -> str | None:
        return client.chat("scripted", HELLO).message.content

    with serving(Script(tokens=2)) as server, client_of(server) as client:
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: client.generate("scripted", "x").response, range(8)))
        assert answers == [WORD * 2] * 8
        assert asyncio.run(in_a_loop(client)) == WORD * 2


def test_one_client_may_be_used_in_one_loop_after_another() -> None:
    async def ask(client: inference.AsyncClient) -> str | None:
        async with client:
            return (await client.chat("scripted", HELLO)).message.content

    with serving(Script(tokens=2)) as server:
        client = inference.AsyncClient(server.base_url, env={})
        assert [asyncio.run(ask(client)) for _ in range(2)] == [WORD * 2] * 2
