"""What is made of the answers of a server that somebody else runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from provision.domain.engine import Method
from provision.domain.fingerprint import COMPATIBLE, LLAMACPP, OLLAMA, UNKNOWN, UNREACHABLE, VLLM, Fingerprint
from provision.domain.model import Model, ModelShape
from provision.domain.selection import Selection
from provision.domain.spec import ENGINE_NAMES, Install, Spec
from provision.errors import FabricError, InvalidInputError, UnreachableError, UsageError
from provision.knowledge.models import load_catalog
from provision.select.external import KnownModels, StillLoadingError, lacks_model, select_external

URL = "http://127.0.0.1:1234/v1"


def wish(**changes: Any) -> Spec:
    return Spec(backend="external", base_url=URL, **changes)


def seen(*models: str, kind: str = COMPATIBLE, **changes: Any) -> Fingerprint:
    return Fingerprint(kind, models=models, **{"status": 200, "detail": "it was asked", **changes})


def choose(spec: Spec, found: Fingerprint, files: Mapping[str, Model] | None = None) -> Selection:
    """Choose where the catalogue is known, and these files, by what is wished for."""
    return select_external(spec, URL, found, KnownModels(load_catalog(), (files or {}).get))


def test_the_only_model_is_the_one() -> None:
    chosen = choose(wish(), seen("only", kind=VLLM, version="0.32.0", contexts={"only": 4096}))
    assert (chosen.backend, chosen.program, chosen.engine_name) == ("external", "vllm", "vllm 0.32.0")
    assert (chosen.model.name, chosen.context, chosen.base_url) == ("only", 4096, URL)
    assert chosen.release.method is Method.REMOTE
    assert chosen.is_remote
    assert set(chosen.why_not) == set(ENGINE_NAMES)


def test_a_version_that_is_not_told_is_none() -> None:
    assert choose(wish(), seen("only")).engine_name == "openai-compatible"


@pytest.mark.parametrize(
    ("model", "listed", "name", "lacking"),
    [
        ("auto", ("tiny:latest",), "tiny:latest", False),
        ("tiny", ("tiny:latest", "big:1b"), "tiny:latest", False),
        ("ollama:Tiny", ("tiny:latest",), "tiny:latest", False),
        ("ollama:big:1b", ("tiny:latest",), "big:1b", True),
        ("big", (), "big:latest", True),
        ("me/big", (), "me/big:latest", True),
        ("localhost:5000/library/big", (), "localhost:5000/library/big:latest", True),
    ],
)
def test_ollama_is_asked_by_the_names_that_it_lists(
    model: str, listed: tuple[str, ...], name: str, lacking: bool
) -> None:
    found = seen(*listed, kind=OLLAMA, version="0.32.15")
    chosen = choose(wish(model=model), found)
    assert (chosen.model.name, lacks_model(chosen, found)) == (name, lacking)


@pytest.mark.parametrize("kind", [COMPATIBLE, VLLM, LLAMACPP])
def test_only_ollama_fetches_models(kind: str) -> None:
    found = seen("there", kind=kind)
    assert not lacks_model(choose(wish(model="there"), found), found)
    with pytest.raises(UsageError):
        choose(wish(model="ollama:there"), found)


@pytest.mark.parametrize(
    ("model", "kind", "listed"),
    [
        ("qwen3.5-4b", OLLAMA, "qwen3.5:4b"),
        ("qwen3.5-4b", VLLM, "Qwen/Qwen3.5-4B"),
        ("qwen3.5-4b", LLAMACPP, "/models/Qwen3.5-4B-Q4_K_M.gguf"),
        ("qwen3.5-4b", COMPATIBLE, "qwen3.5-4b"),
        ("qwen3.5:4b", VLLM, "Qwen/Qwen3.5-4B"),
        ("Qwen/Qwen3.5-4B", OLLAMA, "qwen3.5:4b"),
        ("unsloth/Qwen3.5-4B-GGUF", OLLAMA, "qwen3.5:4b"),
        ("smollm2-135m", LLAMACPP, "SmolLM2-135M-Instruct.Q4_1.gguf"),
        ("hf:Qwen/Qwen3.5-4B", VLLM, "Qwen/Qwen3.5-4B"),
        ("hf:unsloth/Qwen3.5-4B-GGUF:Q4_K_M", OLLAMA, "hf.co/unsloth/Qwen3.5-4B-GGUF:Q4_K_M"),
        ("hf:unsloth/Qwen3.5-4B-GGUF:Qwen3.5-4B-Q4_K_M.gguf", LLAMACPP, "Qwen3.5-4B-Q4_K_M.gguf"),
        ("file:/anywhere/own-Q8_0.gguf", LLAMACPP, "own-Q8_0.gguf"),
        ("https://host.example/own-Q8_0.gguf", COMPATIBLE, "own-q8_0"),
        ("wheel:a==1#b/own-Q8_0.gguf", LLAMACPP, "own-Q8_0.gguf"),
    ],
)
def test_a_model_is_found_by_the_name_that_the_server_has_for_it(model: str, kind: str, listed: str) -> None:
    found = seen("other", listed, kind=kind)
    chosen = choose(wish(model=model), found)
    assert (chosen.model.name, lacks_model(chosen, found)) == (listed, False)


def test_a_model_of_the_catalogue_is_fetched_by_ollamas_name() -> None:
    for model in ("qwen3.5-4b", "Qwen/Qwen3.5-4B"):
        chosen = choose(wish(model=model), seen("other:1b", kind=OLLAMA))
        assert (chosen.model.name, chosen.model.path) == ("qwen3.5:4b", None)


OWN = Model(
    "own", "file:/d/own.gguf", "gguf", None, 10, "ab" * 32, ModelShape("llama", 1, 1, 1, 1, 1), path="/d/own.gguf"
)


def test_a_file_of_ours_is_handed_to_ollama_under_a_name_that_tells_its_bytes() -> None:
    files, found = {"file:own.gguf": OWN}, seen("own:latest", kind=OLLAMA)
    chosen = choose(wish(model="file:own.gguf"), found, files)
    assert (chosen.model.name, chosen.model.path, chosen.model.sha256) == ("own:abababababab", OWN.path, OWN.sha256)
    assert lacks_model(chosen, found), "one that is called so may be anything"
    assert not lacks_model(chosen, seen("own:abababababab", kind=OLLAMA))


@pytest.mark.parametrize(
    "model", [replace(OWN, format="safetensors", sha256=None), replace(OWN, path="/d/own-00001-of-00002.gguf")]
)
def test_what_is_not_one_gguf_file_is_not_handed_over(model: Model) -> None:
    with pytest.raises(InvalidInputError, match="one GGUF file, and own is"):
        choose(wish(model="file:own"), seen(kind=OLLAMA), {"file:own": model})


def test_what_ollama_cannot_fetch_is_to_be_fetched_first() -> None:
    with pytest.raises(UsageError, match="cannot fetch it") as caught:
        choose(wish(model="hf:me/own-GGUF:Q4_0"), seen(kind=OLLAMA))
    assert "fabric models pull hf:me/own-GGUF:Q4_0" in str(caught.value.hint)


@pytest.mark.parametrize("model", ["auto", "smollm2-135m", "hf:Qwen/Qwen3.5-4B", "any"])
@pytest.mark.parametrize("listed", [(), ("smollm2-135m",)])
def test_of_a_server_that_is_still_loading_nothing_is_guessed(model: str, listed: tuple[str, ...]) -> None:
    with pytest.raises(StillLoadingError, match="is still loading") as caught:
        choose(wish(model=model), seen(*listed, kind=LLAMACPP, status=503, loading=True))
    assert caught.value.exit_code == 69
    assert "`fabric up` waits for it" in str(caught.value.hint)


def test_what_is_wrong_with_a_wish_is_told_before_the_server_is_waited_for() -> None:
    with pytest.raises(UsageError, match="cannot be promised"):
        choose(wish(require_gpu=True), seen(kind=LLAMACPP, status=503, loading=True))


@pytest.mark.parametrize(
    ("spec", "found", "error", "told"),
    [
        (wish(), seen(kind=UNREACHABLE, detail="refused"), UnreachableError, "No model server answers at .*: refused"),
        (
            wish(),
            seen(kind=UNKNOWN, detail="a web page"),
            UnreachableError,
            "No model server answers at .*: a web page",
        ),
        (wish(), seen(needs_key=True, status=401), UsageError, "wants an API key"),
        (wish(api_key_env="K"), seen(needs_key=True, status=401), UsageError, "does not take the API key in K"),
        (wish(api_key_env="K"), seen(needs_key=True, status=403), UsageError, "does not take the API key in K"),
        (wish(), seen(), UsageError, "lists no model"),
        (wish(), seen("a", "b"), UsageError, "lists several models: a, b. Which one"),
        (wish(), seen(*map(str, range(50))), UsageError, "10, 11 …"),
        (wish(model="qwen3-8"), seen("qwen3-8b", "other"), UsageError, "Did you mean 'qwen3-8b'"),
        (wish(model="any"), seen(), UsageError, "has no model 'any'"),
        (wish(model="no name"), seen(kind=OLLAMA), UsageError, "no name of an Ollama model"),
        (wish(require_gpu=True), seen("only"), UsageError, "cannot be promised"),
    ],
)
def test_what_is_not_clear_is_refused(spec: Spec, found: Fingerprint, error: type[FabricError], told: str) -> None:
    with pytest.raises(error, match=told):
        choose(spec, found)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"context": 8192, "threads": 2}, "context, threads"),
        ({"acceleration": "cuda"}, "acceleration"),
        ({"kv_cache": "q8_0", "keep_alive": 0}, "kv cache, keep alive"),
        ({"install": Install(program="/bin/x")}, "install"),
        ({"host": "::1", "port": 0, "profile": "cpu"}, "profile, host, port"),
    ],
)
def test_options_that_mean_nothing_there_are_named(changes: dict[str, Any], named: str) -> None:
    assert choose(wish(**changes), seen("only")).why[-1].endswith(f": {named}")


def test_without_such_options_there_is_nothing_to_name() -> None:
    assert len(choose(wish(model="only"), seen("only")).why) == 1
