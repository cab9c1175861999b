"""Independent clients, those of Ollama's and OpenAI's own authors, hold the stand-in to what they expect of Ollama."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ollama
import openai
import pytest

from provision.engines.registry import ENGINES
from provision.observe import smoke
from tests.standin.ollama_disk import MODEL
from tests.standin.ollama_registry import OllamaRegistry
from tests.standin.ollama_server import OllamaServer
from tests.unit.engines.conftest import REAL, Connect, Gguf, make_model, tiny_gguf, write_gguf

SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}


@pytest.fixture
def loaded(client: ollama.Client, model_file: Gguf) -> str:
    """The name of a model that was made of a file."""
    make_model(client, model_file)
    return "tiny"


@pytest.fixture
def openai_client(server: OllamaServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.base_url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_a_new_server_has_no_models(client: ollama.Client, openai_client: openai.OpenAI) -> None:
    assert client.list().models == []
    assert client.ps().models == []
    assert not openai_client.models.list().data


def test_a_pulled_model_is_listed_shown_and_deleted(client: ollama.Client, registry: OllamaRegistry) -> None:
    data = tiny_gguf()
    registry.add("tiny:1b", (MODEL, data))
    name = registry.name("tiny:1b")
    steps = list(client.pull(name, insecure=True, stream=True))
    assert [steps[0].status, steps[-1].status] == ["pulling manifest", "success"]
    assert max(step.completed or 0 for step in steps) == len(data)
    (listed,) = client.list().models
    assert listed.model == name
    assert listed.details
    assert listed.details.format == "gguf"
    shown = client.show(name)
    assert shown.modelinfo
    assert shown.modelinfo["general.architecture"] == "llama"
    assert client.delete(name).status == "success"
    assert client.list().models == []


def test_what_does_not_exist_is_a_404_that_names_it(client: ollama.Client) -> None:
    for call in (client.show, client.delete, client.generate):
        with pytest.raises(ollama.ResponseError, match="'nothere' not found") as caught:
            call("nothere")
        assert caught.value.status_code == 404


def test_an_error_in_the_middle_of_a_good_answer_is_raised(client: ollama.Client, registry: OllamaRegistry) -> None:
    with pytest.raises(ollama.ResponseError, match="file does not exist"):
        list(client.pull(registry.name("nothere"), insecure=True, stream=True))


def test_a_file_that_is_no_gguf_becomes_no_model(
    client: ollama.Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("files") / "page.gguf"
    path.write_bytes(b"<html>this is not a model</html>")
    digest = client.create_blob(path)
    with pytest.raises(ollama.ResponseError, match="not in GGUF format"):
        client.create("page", files={"page.gguf": digest})


def test_chat_whole_and_streamed_say_the_same(client: ollama.Client, loaded: str) -> None:
    messages = [{"role": "user", "content": "Say hello."}]
    options = {"num_predict": 8, "temperature": 0, "seed": 1}
    whole = client.chat(loaded, messages=messages, options=options)
    assert whole.done
    assert whole.eval_count == 8
    assert whole.done_reason == "length"
    parts = list(client.chat(loaded, messages=messages, options=options, stream=True))
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert [part.done for part in parts].count(True) == 1
    assert parts[-1].prompt_eval_count == whole.prompt_eval_count


def test_a_model_is_loaded_with_its_context_and_unloaded(client: ollama.Client, loaded: str) -> None:
    assert client.generate(loaded).done_reason == "load"
    (running,) = client.ps().models
    assert running.name == "tiny:latest"
    assert running.context_length == 2048
    client.generate(loaded, options={"num_ctx": 1024})
    assert [model.context_length for model in client.ps().models] == [1024]
    assert client.generate(loaded, keep_alive=0).done_reason == "unload"
    assert client.ps().models == []


def test_a_copy_is_the_same_model(client: ollama.Client, loaded: str) -> None:
    assert client.copy(loaded, "second:one").status == "success"
    assert {model.model for model in client.list().models} == {"tiny:latest", "second:one"}
    assert len({model.digest for model in client.list().models}) == 1
    client.delete(loaded)
    assert client.generate("second:one", "hello", options={"num_predict": 2}).eval_count == 2


def test_a_busy_server_is_a_503(standin: OllamaServer, connect: Connect, tmp_path: Path) -> None:
    client = connect(standin)
    make_model(client, write_gguf(tmp_path / "own.gguf", tiny_gguf()), "odd-busy")
    with pytest.raises(ollama.ResponseError, match="server busy") as caught:
        client.generate("odd-busy")
    assert caught.value.status_code == 503


def test_an_architecture_that_nobody_knows_is_not_loaded(
    standin: OllamaServer, connect: Connect, tmp_path: Path
) -> None:
    client = connect(standin)
    make_model(client, write_gguf(tmp_path / "own.gguf", tiny_gguf("hyperbolic")))
    with pytest.raises(ollama.ResponseError, match="unknown model architecture: 'hyperbolic'"):
        client.generate("tiny")
    assert client.ps().models == []


def test_openai_lists_and_retrieves_the_model(openai_client: openai.OpenAI, loaded: str) -> None:
    (listed,) = openai_client.models.list().data
    assert (listed.id, listed.owned_by) == ("tiny:latest", "library")
    assert openai_client.models.retrieve(loaded).id == loaded


def test_openai_chat_whole_and_streamed(openai_client: openai.OpenAI, loaded: str) -> None:
    whole = openai_client.chat.completions.create(
        model=loaded, messages=[{"role": "user", "content": "Say hello."}], max_tokens=8, temperature=0, seed=1
    )
    assert whole.usage
    assert whole.usage.completion_tokens == 8
    assert whole.model == loaded
    chunks = list(
        openai_client.chat.completions.create(
            model=loaded,
            messages=[{"role": "user", "content": "Say hello."}],
            max_tokens=8,
            temperature=0,
            seed=1,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage == whole.usage


def test_openai_completion_and_its_stream(openai_client: openai.OpenAI, loaded: str) -> None:
    whole = openai_client.completions.create(model=loaded, prompt="Once", max_tokens=4, temperature=0, seed=1)
    parts = openai_client.completions.create(
        model=loaded, prompt="Once", max_tokens=4, temperature=0, seed=1, stream=True
    )
    assert whole.choices[0].text == "".join(choice.text for part in parts for choice in part.choices)


def test_openai_embeddings_have_one_vector_for_each_text(openai_client: openai.OpenAI, loaded: str, kind: str) -> None:
    if kind == REAL:
        pytest.skip("the model that answers has no embeddings")
    answer = openai_client.embeddings.create(model=loaded, input=["one", "two"], encoding_format="float")
    assert [entry.index for entry in answer.data] == [0, 1]
    assert answer.data[0].embedding != answer.data[1].embedding


def test_openai_errors_have_their_shape(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        openai_client.chat.completions.create(model="nothere", messages=[{"role": "user", "content": "x"}])
    assert caught.value.type == "not_found_error"


def test_the_smoke_test_passes(server: OllamaServer, loaded: str) -> None:
    report = smoke.run(server.client(), f"{loaded}:latest", ENGINES["ollama"].serves)
    assert report.ok, report
