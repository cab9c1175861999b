"""Ollama's options, as each backend takes them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ollama import Options

from provision.client.options import UnsupportedOptionError, switch_thinking, translate_options
from provision.errors import UsageError
from provision.knowledge.routes import Backend, load_routes

ROUTES = load_routes()
STANDARD = {"temperature", "top_p", "max_tokens", "stop", "seed", "presence_penalty", "frequency_penalty"}
REMOVED = {"tfs_z", "penalize_newline"}  # llama.cpp and Ollama have dropped these samplers

every_row = pytest.mark.parametrize("backend", ROUTES.backends, ids=lambda row: row.name)


def row(name: str) -> Backend:
    found = ROUTES.find(name)
    assert found
    return found


@every_row
def test_every_backend_takes_what_is_in_openai_s_request(backend: Backend) -> None:
    given_options = {"temperature": 0, "top_p": 0.9, "num_predict": 7, "stop": ["\n"], "seed": 0}
    given_options |= {"presence_penalty": 0.5, "frequency_penalty": -0.5}
    fields = translate_options(backend, given_options, strict=True)
    assert fields == {"max_tokens": 7, **{name: each for name, each in given_options.items() if name != "num_predict"}}
    assert set(fields) == STANDARD <= set(backend.options.values())


def test_what_only_some_take() -> None:
    more = {"top_k": 40, "min_p": 0.05, "repeat_penalty": 1.1, "mirostat": 2, "num_keep": 4, "num_ctx": 8192}

    def taken(name: str) -> dict[str, Any]:
        return translate_options(row(name), more, strict=False)

    assert taken("vllm") == {"top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1}
    assert taken("lm_studio") == {"top_k": 40, "repeat_penalty": 1.1}
    assert taken("llamacpp") == {"top_k": 40, "min_p": 0.05, "repeat_penalty": 1.1, "mirostat": 2, "n_keep": 4}
    assert taken("openai-compat") == taken("ollama") == {}


@every_row
@pytest.mark.parametrize("strict", [True, False])
def test_what_is_not_said_is_absent_and_not_null(backend: Backend, strict: bool) -> None:
    nothing = dict.fromkeys((*backend.options, "num_ctx", "no_such_option"))
    assert translate_options(backend, nothing, strict=strict) == {}
    assert switch_thinking(backend, None, strict=strict) == {}


@pytest.mark.parametrize("endless", [-1, -2])
def test_no_limit_is_a_request_without_one(endless: int) -> None:
    assert translate_options(row("vllm"), {"num_predict": endless, "seed": -1}, strict=True) == {"seed": -1}
    assert translate_options(row("vllm"), {"num_predict": 0}, strict=True) == {"max_tokens": 0}


@pytest.mark.parametrize(
    ("backend", "option", "said"),
    [
        ("vllm", "num_ctx", r"vllm does not take 'num_ctx' in a request\.$"),
        ("vllm", "mirostat", r"vllm does not take 'mirostat' in a request\.$"),
        ("llamacpp", "temprature", "Did you mean 'temperature'"),
        ("openai-compat", "top_kk", "Did you mean 'top_k'"),
    ],
)
def test_what_a_backend_does_not_take_is_an_error_where_that_is_wanted(backend: str, option: str, said: str) -> None:
    with pytest.raises(UnsupportedOptionError, match=said) as told:
        translate_options(row(backend), {"temperature": 1, option: 1}, strict=True)
    assert isinstance(told.value, UsageError)
    assert (told.value.names, told.value.backend) == ((option,), backend)
    assert "temperature, top_p" in (told.value.hint or "")
    assert translate_options(row(backend), {"temperature": 1, option: 1}, strict=False) == {"temperature": 1}


def test_every_option_that_is_none_gets_its_guess() -> None:
    with pytest.raises(UnsupportedOptionError, match=r"Did you mean 'temperature'.*Did you mean 'top_k'"):
        translate_options(row("vllm"), {"num_ctx": 1, "temprature": 1, "top_kk": 1}, strict=True)


def test_what_is_decided_when_the_server_starts_is_told() -> None:
    with pytest.raises(UnsupportedOptionError) as told:
        translate_options(row("llamacpp"), {"num_ctx": 4096, "num_gpu": 1}, strict=True)
    assert "`fabric up --context` sets num_ctx." in (told.value.hint or "")
    assert "num_gpu" not in (told.value.hint or "")


def test_every_option_of_ollama_s_own_package_is_known() -> None:
    known = {*ROUTES.at_start, *(option for each in ROUTES.backends for option in each.options)}
    assert set(Options.model_fields) - known == REMOVED


def test_how_thinking_is_switched() -> None:
    for name in ("vllm", "llamacpp"):
        assert switch_thinking(row(name), True, strict=True) == {"chat_template_kwargs": {"enable_thinking": True}}
        assert switch_thinking(row(name), False, strict=True) == {"chat_template_kwargs": {"enable_thinking": False}}
        assert switch_thinking(row(name), "low", strict=True) == {"reasoning_effort": "low"}
    assert switch_thinking(row("ollama"), False, strict=True) == {"reasoning_effort": "none"}
    assert switch_thinking(row("openai-compat"), "high", strict=True) == {"reasoning_effort": "high"}


@pytest.mark.parametrize(("backend", "think"), [("openai-compat", False), ("lm_studio", True), ("lm_studio", "low")])
def test_thinking_that_cannot_be_switched(backend: str, think: bool | str) -> None:
    assert switch_thinking(row(backend), think, strict=False) == {}
    with pytest.raises(UnsupportedOptionError, match="does not take 'think'"):
        switch_thinking(row(backend), think, strict=True)


@given(
    st.sampled_from(ROUTES.backends),
    st.dictionaries(st.sampled_from([*Options.model_fields]) | st.text(), st.none() | st.integers() | st.text()),
)
def test_strict_and_not_differ_only_where_something_is_left_out(backend: Backend, options: dict[str, Any]) -> None:
    fields = translate_options(backend, options, strict=False)
    assert set(fields) <= set(backend.options.values())
    assert None not in fields.values()
    unsupported = {name for name, each in options.items() if each is not None} - set(backend.options)
    if unsupported:
        with pytest.raises(UnsupportedOptionError):
            translate_options(backend, options, strict=True)
    else:
        assert translate_options(backend, options, strict=True) == fields
