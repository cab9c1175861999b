"""What sets an engine apart is data of the engine, and a plan says what of a wish it cannot heed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from provision import assets
from provision.domain.facts import Facts
from provision.domain.model import Model
from provision.domain.spec import Spec
from provision.errors import InvalidInputError
from provision.knowledge.engine_files import EngineFile
from provision.knowledge.load import check
from provision.select.choose import Choice, Chooser
from provision.select.knowledge import Knowledge

PARTS = "/d/tiny-00001-of-00002.gguf"


@pytest.fixture
def weighed(knowledge: Knowledge, facts: Facts, model: Model) -> Any:
    """Choose llama.cpp or another engine, of which something is different."""

    def weigh(spec: Spec, model: Model = model, **traits: Any) -> Choice:
        engines = {name: _with(file, traits) for name, file in knowledge.engines.items()}
        return Chooser(spec, facts, model, replace(knowledge, engines=engines), 8080).choose()

    return weigh


def _with(file: EngineFile, traits: dict[str, Any]) -> EngineFile:
    from msgspec import structs

    return structs.replace(file, **traits)


@pytest.mark.parametrize(
    ("engine", "wishes", "told"),
    [
        ("llamacpp", {"keep_alive": 60}, "keep alive"),
        ("llamacpp", {"threads": 2, "kv_cache": "q8_0", "parallel": 2}, ""),
        ("ollama", {"threads": 2, "keep_alive": 60}, "threads"),
        ("ollama", {"keep_alive": 60, "kv_cache": "q8_0"}, ""),
        ("vllm", {"threads": 2, "keep_alive": 60}, "threads, keep alive"),
    ],
)
def test_the_plan_says_what_the_engine_cannot_heed(
    weighed: Any, engine: str, wishes: dict[str, Any], told: str
) -> None:
    selection = weighed(Spec(backend=engine, **wishes)).selection
    lines = [line for line in selection.why if "heeded" in line]
    assert lines == ([f"not heeded, because {engine} has no such setting: {told}"] if told else [])


def test_an_engine_that_answers_whoever_asks_is_not_used_with_a_key(weighed: Any) -> None:
    spec = Spec(backend="llamacpp", api_key_env="KEY")
    assert weighed(spec, keyless=False).selection
    assert "knows no API key" in weighed(spec, keyless=True).refusal.message


def test_an_engine_that_wants_one_file_is_not_given_parts(weighed: Any, model: Model) -> None:
    split = replace(model, source=None, path=PARTS)
    assert weighed(Spec(backend="llamacpp"), split, whole_file=False).selection
    assert "split into several" in weighed(Spec(backend="llamacpp"), split, whole_file=True).refusal.message


def test_a_wish_that_there_is_not_cannot_be_unheeded() -> None:
    data = {**assets.profile("engines/vllm"), "releases": [], "unheeded": ["thread"]}
    with pytest.raises(InvalidInputError, match="there is no thread in a spec"):
        check(data, EngineFile, "vllm.yaml")
