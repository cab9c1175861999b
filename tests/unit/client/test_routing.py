"""Where a model goes, and which rule decided."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provision.client.routing import Route, near_prefix, route
from provision.domain.endpoint import normalize
from provision.errors import FabricError, InvalidInputError, RefusedError, UsageError
from provision.knowledge.models import load_catalog
from provision.knowledge.routes import Backend, load_routes
from tests.standin.own_models import HOUSE, REPOSITORY, TAG

ROUTES = load_routes()
SECRET = "sk-very-secret-0123456789"
every_row = pytest.mark.parametrize("backend", ROUTES.backends, ids=lambda row: row.name)


def where(model: str, **env: str) -> tuple[str, str, str]:
    found = route(model, env)
    return found.backend, found.model_id, found.base_url


def test_the_table_is_the_one_that_was_promised() -> None:
    assert {row.name: (row.base_url_env, row.base_url, row.api_key_env) for row in ROUTES.backends} == {
        "ollama": ("OLLAMA_BASE_URL", "http://localhost:11434/v1", "OLLAMA_API_KEY"),
        "lm_studio": ("LMSTUDIO_BASE_URL", "http://127.0.0.1:1234/v1", "LMSTUDIO_API_KEY"),
        "vllm": ("VLLM_BASE_URL", "http://127.0.0.1:8000/v1", "VLLM_API_KEY"),
        "llamacpp": ("LLAMACPP_BASE_URL", "http://127.0.0.1:8080/v1", "LLAMACPP_API_KEY"),
        "openai-compat": ("OPENAI_COMPAT_BASE_URL", "http://127.0.0.1:8000/v1", "OPENAI_COMPAT_API_KEY"),
    }
    assert ROUTES.default == "ollama"
    assert [row.name for row in ROUTES.backends if row.api] == ["ollama"]


@every_row
def test_a_prefix_leads_to_its_backend(backend: Backend) -> None:
    found = route(f"{backend.name}/some-model", {"INFERENCE_BACKEND": "llamacpp"})
    assert found == Route(
        f"{backend.name}/some-model",
        "some-model",
        backend.name,
        normalize(backend.base_url),
        backend.api_key_env,
        backend.api_key,
        False,
        f"The prefix {backend.name}/ names the backend.",
    )


@every_row
@pytest.mark.parametrize(
    "written", ["https://gpu.example/v1", "https://gpu.example/v1/", "https://gpu.example", "https://gpu.example//v1//"]
)
def test_a_variable_beats_the_default_address(backend: Backend, written: str) -> None:
    found = route(f"{backend.name}/m", {backend.base_url_env: f" {written}\n", backend.api_key_env: SECRET})
    assert found.base_url == "https://gpu.example/v1"
    assert found.api_key == SECRET
    assert SECRET not in repr(found)


@every_row
@pytest.mark.parametrize("nothing", ["", "  ", "\n"])
def test_an_empty_variable_counts_as_missing(backend: Backend, nothing: str) -> None:
    names = (backend.base_url_env, backend.api_key_env, "HARNESS_ENDPOINTS", "VLLM_MODEL_MAP", "INFERENCE_BACKEND")
    assert route(f"{backend.name}/m", dict.fromkeys(names, nothing)) == route(f"{backend.name}/m", {})
    assert route("m", dict.fromkeys(names, nothing)) == route("m", {})


@every_row
def test_the_backend_of_what_nothing_else_speaks_of(backend: Backend) -> None:
    found = route("some-model", {"INFERENCE_BACKEND": backend.name})
    assert (found.backend, found.rule) == (backend.name, "INFERENCE_BACKEND names the backend.")


def test_everything_else_goes_to_ollama() -> None:
    assert where("some-model") == ("ollama", "some-model", "http://localhost:11434/v1")
    assert "default backend" in route("some-model", {}).rule


def test_a_server_of_others_may_be_named_as_fabric_names_it() -> None:
    assert where("m", INFERENCE_BACKEND="external")[0] == "openai-compat"


ENDPOINTS = json.dumps({"vllm/big": {"url": "https://a.example/", "model_id": "org/Big", "backend": "llamacpp"}})
MAP = json.dumps({"vllm/big": "org/Other", "tiny:1b": "org/Tiny", "Alone": "org/Alone"})


def test_each_rule_comes_before_the_next() -> None:
    env = {"HARNESS_ENDPOINTS": ENDPOINTS, "VLLM_MODEL_MAP": MAP, "INFERENCE_BACKEND": "llamacpp"}
    assert where("vllm/big", **env) == ("llamacpp", "org/Big", "https://a.example/v1")
    assert where("vllm/bigger", **env) == ("vllm", "bigger", "http://127.0.0.1:8000/v1")
    assert where("tiny:1b", **env)[:2] == ("vllm", "org/Tiny")
    assert where("other", **env)[:2] == ("ollama", "other")
    del env["VLLM_MODEL_MAP"]
    assert where("tiny:1b", **env)[:2] == ("llamacpp", "tiny:1b")
    del env["HARNESS_ENDPOINTS"]
    assert where("vllm/big", **env)[:2] == ("vllm", "big")
    del env["INFERENCE_BACKEND"]
    assert where("tiny:1b", **env)[:2] == ("ollama", "tiny:1b")


@pytest.mark.parametrize("model", ["tiny:1b", "TINY:1b", "library/tiny:1b", "org/Tiny"])
def test_a_model_of_the_map_goes_to_vllm_by_either_name(model: str) -> None:
    assert where(model, VLLM_MODEL_MAP=MAP)[:2] == ("vllm", "org/Tiny")
    assert "VLLM_MODEL_MAP lists this model" in route(model, {"VLLM_MODEL_MAP": MAP}).rule


def test_the_map_translates_for_a_prefix_too_and_beats_the_catalogue() -> None:
    mine = json.dumps({"qwen3.5:4b": "me/Qwen-AWQ"})
    assert where("vllm/qwen3.5:4b")[1] == "Qwen/Qwen3.5-4B"
    assert where("vllm/qwen3.5:4b", VLLM_MODEL_MAP=mine)[1] == "me/Qwen-AWQ"
    assert where("ollama/me/Qwen-AWQ", VLLM_MODEL_MAP=mine)[1] == "qwen3.5:4b"
    assert where("vllm/alone:latest", VLLM_MODEL_MAP=MAP)[1] == "org/Alone"


@pytest.mark.parametrize(
    ("model", "backend", "model_id"),
    [
        ("qwen3.5:4b", "vllm", "Qwen/Qwen3.5-4B"),
        ("Qwen3.5:4B", "vllm", "Qwen/Qwen3.5-4B"),
        ("Qwen/Qwen3.5-4B", "vllm", "Qwen/Qwen3.5-4B"),
        ("Qwen/Qwen3.5-4B", "ollama", "qwen3.5:4b"),
        ("unsloth/Qwen3.5-4B-GGUF", "ollama", "qwen3.5:4b"),
        ("qwen3.5:4b", "ollama", "qwen3.5:4b"),
        ("qwen3.5:4b", "llamacpp", "qwen3.5:4b"),
        ("Qwen/Qwen3.5-4B", "lm_studio", "Qwen/Qwen3.5-4B"),
        *((name, row, name) for name in ("smollm2-135m", "nobody:7b", "org/Unknown") for row in ("vllm", "ollama")),
    ],
)
def test_only_names_of_ollama_and_of_the_hub_are_translated(model: str, backend: str, model_id: str) -> None:
    assert where(f"{backend}/{model}")[1] == model_id
    assert where(model, INFERENCE_BACKEND=backend)[1] == model_id


def test_every_model_of_the_catalogue_keeps_its_name_and_its_tag_comes_back() -> None:
    for row in load_catalog().models:
        tag = row.engines["ollama"].reference.removeprefix("ollama:") if "ollama" in row.engines else None
        assert where(f"vllm/{row.name}")[1] == row.name
        if tag and "vllm" in row.engines:
            repository = where(f"vllm/{tag}")[1]
            assert row.engines["vllm"].reference == f"hf:{repository}"
            assert where(f"ollama/{repository}")[1] == tag


def test_the_users_own_models_are_translated_too(tmp_path: Path) -> None:
    file = tmp_path / "fabric.models.yaml"
    file.write_text(HOUSE, encoding="utf-8")
    own = load_catalog(file)
    assert route(f"vllm/{TAG}", {}, own).model_id == REPOSITORY
    assert route(f"ollama/{REPOSITORY}", {}, own).model_id == TAG
    assert route(f"vllm/{TAG}", {}).model_id == TAG


@pytest.mark.parametrize(
    ("env", "kind", "said"),
    [
        ({"VLLM_BASE_URL": "gpu.example"}, UsageError, "begin with http"),
        ({"VLLM_BASE_URL": "ftp://gpu.example"}, UsageError, "begin with http"),
        ({"VLLM_BASE_URL": "http://"}, UsageError, "and a host"),
        ({"VLLM_BASE_URL": "http://169.254.169.254/v1"}, RefusedError, "metadata"),
        ({"VLLM_BASE_URL": "http://169.254.1.1/v1"}, RefusedError, "link-local"),
        ({"VLLM_BASE_URL": f"https://me:{SECRET}@gpu.example"}, RefusedError, "user name or password"),
        ({"VLLM_BASE_URL": "http://gpu.example", "VLLM_API_KEY": SECRET}, RefusedError, "without encryption"),
    ],
)
def test_an_address_that_cannot_be_is_refused_by_the_name_of_its_variable(
    env: dict[str, str], kind: type[FabricError], said: str
) -> None:
    with pytest.raises(kind, match=said) as told:
        route("vllm/m", env)
    assert "VLLM_BASE_URL" in told.value.message
    assert "VLLM_API_KEY" in (told.value.hint or "")
    assert SECRET not in f"{told.value.message} {told.value.hint}"
    assert route("llamacpp/m", env).model_id == "m", "what is not asked for is not read"


def test_the_harmless_key_may_go_anywhere() -> None:
    assert route("vllm/m", {"VLLM_BASE_URL": "http://gpu.example"}).api_key == "none"


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("HARNESS_ENDPOINTS", "{", "no JSON"),
        ("HARNESS_ENDPOINTS", "[]", "no object"),
        ("HARNESS_ENDPOINTS", '{"m": "http://x"}', "entry of 'm' is no object"),
        ("HARNESS_ENDPOINTS", '{"m": {}}', "has no 'url'"),
        ("HARNESS_ENDPOINTS", '{"m": {"url": ""}}', "'url' in the entry of 'm' is no text, or an empty one"),
        ("HARNESS_ENDPOINTS", '{"m": {"url": "http://x", "modelid": "y"}}', "Did you mean 'model_id'"),
        ("HARNESS_ENDPOINTS", '{"m": {"url": "http://x", "backend": "vlm"}}', "Did you mean 'vllm'"),
        ("VLLM_MODEL_MAP", "qwen3:4b=Qwen/Qwen3-4B", "no JSON"),
        ("VLLM_MODEL_MAP", '"x"', "no object"),
        ("VLLM_MODEL_MAP", '{"x": 7}', "'x' has to stand before the id"),
        ("VLLM_MODEL_MAP", '{"x": ""}', "'x' has to stand before the id"),
        ("VLLM_MODEL_MAP", "[" * 100_000, "no JSON"),
    ],
)
def test_what_cannot_be_read_is_told_with_an_example(variable: str, text: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said) as told:
        route("m", {variable: text})
    assert told.value.message.startswith(f"{variable} cannot be used: ")
    example_of = (told.value.hint or "").removeprefix("Write it like ")
    assert route("qwen3:4b", {variable: example_of}).model_id == "Qwen/Qwen3-4B"


def test_an_address_of_an_endpoint_is_checked_when_it_is_read() -> None:
    endpoints = json.dumps({"other": {"url": f"http://me:{SECRET}@x"}})
    with pytest.raises(RefusedError, match="The address of 'other' in HARNESS_ENDPOINTS cannot be used") as told:
        route("m", {"HARNESS_ENDPOINTS": endpoints})
    assert SECRET not in f"{told.value.message} {told.value.hint}"


def test_an_endpoint_of_which_only_the_address_is_known() -> None:
    env = {"HARNESS_ENDPOINTS": '{"m": {"url": "http://10.0.0.7:9000"}}', "OPENAI_COMPAT_API_KEY": SECRET}
    found = route("m", env)
    assert (found.backend, found.model_id, found.base_url) == ("openai-compat", "m", "http://10.0.0.7:9000/v1")
    assert found.api_key == SECRET


def test_an_endpoint_that_names_no_model_is_asked_by_the_name_that_its_backend_has() -> None:
    entry = {"url": "http://10.0.0.7:9000", "backend": "vllm"}
    env = {"HARNESS_ENDPOINTS": json.dumps({"qwen3.5:4b": entry, "tiny:1b": {**entry, "model_id": "tiny:1b"}})}
    found = route("qwen3.5:4b", env)
    assert (found.model_id, found.base_url) == ("Qwen/Qwen3.5-4B", "http://10.0.0.7:9000/v1")
    assert found.rule == "HARNESS_ENDPOINTS lists this model. The catalogue has its name there."
    assert where("tiny:1b", **env, VLLM_MODEL_MAP=MAP)[1] == "tiny:1b", "what is written is not translated"
    assert where("qwen3.5:4b", **env, VLLM_MODEL_MAP='{"qwen3.5:4b": "me/Q"}')[1] == "me/Q"


@pytest.mark.parametrize(("named", "near"), [("olama", "ollama"), ("llama.cpp", "llamacpp"), ("vLLM", "vllm")])
def test_a_backend_that_is_none_is_told_with_the_nearest(named: str, near: str) -> None:
    with pytest.raises(UsageError, match="INFERENCE_BACKEND cannot be used") as told:
        route("m", {"INFERENCE_BACKEND": named})
    assert f"Did you mean {near!r}?" in told.value.message


@pytest.mark.parametrize("model", ["", "  ", "vllm/", "ollama/ "])
def test_a_model_needs_a_name(model: str) -> None:
    with pytest.raises(UsageError):
        route(model, {})


@pytest.mark.parametrize(
    ("model", "near"),
    [("olama/x", "ollama"), ("llama.cpp/x", "llamacpp"), ("VLLM/x", "vllm"), ("lmstudio/x", "lm_studio")],
)
def test_a_prefix_that_is_almost_one_is_told(model: str, near: str) -> None:
    assert near_prefix(model) == f" Did you mean {near!r}?"


@pytest.mark.parametrize("model", ["openai/gpt-oss-20b", "Qwen/Qwen3-4B", "olama", "vllm/x", "meta-llama/Llama-3"])
def test_an_organisation_of_the_hub_is_no_wrong_prefix(model: str) -> None:
    assert near_prefix(model) == ""


TEXT = st.text(max_size=30)
NAMES = st.sampled_from(
    ["qwen3.5:4b", "Qwen/Qwen3.5-4B", "smollm2-135m", "a", "b", "org/x", "vllm/x", "ollama/a:b", "é"]
)
MAPS = st.dictionaries(NAMES | TEXT, NAMES | TEXT, max_size=4).map(json.dumps)
ENTRIES = st.fixed_dictionaries({"url": st.just("http://10.0.0.1")}, optional={"model_id": TEXT, "backend": TEXT})
VALUES = {
    "HARNESS_ENDPOINTS": TEXT | st.dictionaries(NAMES | TEXT, ENTRIES, max_size=3).map(json.dumps),
    "VLLM_MODEL_MAP": TEXT | MAPS,
    "INFERENCE_BACKEND": TEXT | st.sampled_from([*ROUTES.names, "external"]),
    **{row.base_url_env: TEXT | st.just("https://host.example/api") for row in ROUTES.backends},
    **{row.api_key_env: TEXT for row in ROUTES.backends},
}
ENVIRONMENTS = st.fixed_dictionaries({}, optional=VALUES)


@given(NAMES | TEXT, ENVIRONMENTS)
def test_nothing_but_an_error_of_fabric_is_ever_raised(model: str, env: dict[str, str]) -> None:
    found = None
    with suppress(FabricError):
        found = route(model, env)
    if found is None:
        return
    assert found.backend in ROUTES.names
    assert normalize(found.base_url) == found.base_url
    assert found.model_id
    assert found.api_key
    assert found.rule.endswith(".")


# What Ollama has under one name would else be known to vLLM by the name that Ollama has for another.
TAGS = st.sampled_from(["qwen3.5:4b", "smollm2:135m", "a", "b"])
IDS = st.sampled_from(["Qwen/Qwen3.5-4B", "unsloth/Qwen3.5-4B-GGUF", "org/x", "smollm2-135m", "b"])


@given(NAMES | TAGS | IDS, st.dictionaries(TAGS, IDS, max_size=4), st.sampled_from(ROUTES.names))
@example("a", {"a": "b", "b": "org/x"}, "vllm")
@example("org/x", {"a": "b", "b": "org/x"}, "ollama")
def test_where_a_model_went_it_goes_again(model: str, model_map: dict[str, str], backend: str) -> None:
    env = {"VLLM_MODEL_MAP": json.dumps(model_map), "INFERENCE_BACKEND": backend}
    first = route(model, env)
    again = route(f"{first.backend}/{first.model_id}", env)
    assert (again.backend, again.model_id, again.base_url) == (first.backend, first.model_id, first.base_url)


@given(NAMES | TEXT, st.sampled_from(ROUTES.backends))
def test_nobody_else_s_variables_count(model: str, backend: Backend) -> None:
    others = {row.base_url_env: "no address" for row in ROUTES.backends if row is not backend}
    name = f"{backend.name}/{model}"
    if model.strip():
        assert route(name, others) == route(name, {})
