"""What is made of the answers of a server that somebody else runs."""

from __future__ import annotations

from typing import Any

import pytest

from provision.domain.engine import Method
from provision.domain.fingerprint import COMPATIBLE, LLAMACPP, OLLAMA, UNKNOWN, UNREACHABLE, VLLM, Fingerprint
from provision.domain.spec import Install, Spec
from provision.errors import FabricError, UnreachableError, UsageError
from provision.select.external import lacks_model, select_external

URL = "http://127.0.0.1:1234/v1"


def wish(**changes: Any) -> Spec:
    return Spec(backend="external", base_url=URL, **changes)


def seen(*models: str, kind: str = COMPATIBLE, **changes: Any) -> Fingerprint:
    return Fingerprint(kind, models=models, **{"status": 200, "detail": "it was asked", **changes})


def test_the_only_model_is_the_one() -> None:
    chosen = select_external(wish(), URL, seen("only", kind=VLLM, version="0.32.0", contexts={"only": 4096}))
    assert (chosen.backend, chosen.program, chosen.engine_name) == ("external", "vllm", "vllm 0.32.0")
    assert (chosen.model.name, chosen.context, chosen.base_url) == ("only", 4096, URL)
    assert chosen.release.method is Method.REMOTE
    assert chosen.is_remote
    assert set(chosen.why_not) == {"ollama", "llamacpp", "vllm"}


def test_a_version_that_is_not_told_is_none() -> None:
    assert select_external(wish(), URL, seen("only")).engine_name == "openai-compatible"


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
    chosen = select_external(wish(model=model), URL, found)
    assert (chosen.model.name, lacks_model(chosen, found)) == (name, lacking)


@pytest.mark.parametrize("kind", [COMPATIBLE, VLLM, LLAMACPP])
def test_only_ollama_fetches_models(kind: str) -> None:
    found = seen("there", kind=kind)
    assert not lacks_model(select_external(wish(model="there"), URL, found), found)
    with pytest.raises(UsageError):
        select_external(wish(model="ollama:there"), URL, found)


def test_a_server_that_is_still_loading_is_waited_for_where_its_model_is_named() -> None:
    loading = seen(kind=LLAMACPP, status=503, detail="it answers as llama.cpp does, and GET /v1/models answers 503")
    assert select_external(wish(model="soon"), URL, loading).model.name == "soon"
    with pytest.raises(UsageError, match=r"lists no model .*answers 503"):
        select_external(wish(), URL, loading)


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
        select_external(spec, URL, found)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"context": 8192, "threads": 2}, "context, threads"),
        ({"acceleration": "cuda"}, "acceleration"),
        ({"kv_cache": "q8_0", "keep_alive": 0}, "kv cache, keep alive"),
        ({"install": Install(program="/bin/x")}, "install"),
    ],
)
def test_options_that_mean_nothing_there_are_named(changes: dict[str, Any], named: str) -> None:
    assert select_external(wish(**changes), URL, seen("only")).why[-1].endswith(f": {named}")


def test_without_such_options_there_is_nothing_to_name() -> None:
    assert len(select_external(wish(port=0, model="only"), URL, seen("only")).why) == 1
