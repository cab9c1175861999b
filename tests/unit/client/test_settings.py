"""What a client is told, read back from what ``fabric config`` writes."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision import assets
from provision.client.settings import from_environment, from_file
from provision.domain.client_config import ClientConfig
from provision.errors import InvalidInputError, RefusedError, UsageError
from provision.plan.render import render

SECRET = "sk-very-secret-0123456789"
WORD = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=9)
CONFIGS = st.builds(
    ClientConfig,
    base_url=st.sampled_from(["http://127.0.0.1:8080/v1", "https://host.example/api/v1"]),
    model=WORD,
    api_key=st.none() | WORD.filter(lambda word: word != "none"),
    local_llm_start_cmd=st.lists(WORD, min_size=1, max_size=3).map(" ".join),
    local_llm_ensure_available=st.booleans(),
)
SAID = ClientConfig("http://127.0.0.1:8080/v1", "smollm2-135m", SECRET, "fabric up --no-smoke --home 'a b'")


@given(CONFIGS, st.sampled_from(["json", "yaml"]))
def test_a_file_is_read_back_as_it_was_written(config: ClientConfig, kind: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, f"client.{kind}")
        file.write_text(render(assets.template(kind), config), encoding="utf-8")
        assert from_file(file) == config


@pytest.mark.parametrize("config", [SAID, ClientConfig("https://h.example/v1", "m'x\"$(id)", None, "true", False)])
def test_the_environment_is_read_back_as_a_shell_has_set_it(config: ClientConfig, tmp_path: Path) -> None:
    script = render(assets.template("env"), config) + "env -0\n"
    printed = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True, env={"PATH": os.defpath})
    env = dict(line.split("=", 1) for line in printed.stdout.decode().split("\0") if line)
    assert from_environment(env) == config
    for name in ("base_url", "model", "api_key"):
        env.pop(name, None)
    assert from_environment(env) == config, "by OpenAI's names alone"


def test_the_variables_of_one_set_belong_together() -> None:
    env = {"base_url": "http://127.0.0.1:1/v1", "model": "own", "OPENAI_BASE_URL": "https://o.example/v1"}
    env |= {"OPENAI_MODEL": "theirs", "OPENAI_API_KEY": SECRET}
    assert from_environment(env) == ClientConfig("http://127.0.0.1:1/v1", "own", None, "", False)
    assert from_environment({**env, "base_url": " "}).model == "theirs"
    with pytest.raises(UsageError, match="base_url is set, and model is not"):
        from_environment({**env, "model": ""})
    assert from_environment({**env, "model": ""}, needs_model=False).model == ""


def test_an_address_is_brought_into_its_one_form() -> None:
    found = from_environment({"OPENAI_BASE_URL": "http://LOCALHOST:8000/", "OPENAI_MODEL": "m"})
    assert found == ClientConfig("http://localhost:8000/v1", "m", None, "", False)


@pytest.mark.parametrize(("word", "truth"), [("true", True), ("False", False), ("1", True), ("0", False)])
def test_whether_it_may_be_started(word: str, truth: bool) -> None:
    env = {"base_url": "http://127.0.0.1:1/v1", "model": "m", "local_llm_ensure_available": word}
    assert from_environment(env).local_llm_ensure_available is truth
    with pytest.raises(InvalidInputError, match="neither true nor false"):
        from_environment({**env, "local_llm_ensure_available": "perhaps"})


def test_an_environment_that_says_nothing() -> None:
    with pytest.raises(UsageError, match="No server is configured") as told:
        from_environment({})
    assert 'eval "$(fabric config)"' in (told.value.hint or "")


def test_an_unsafe_address_is_refused_without_showing_it() -> None:
    with pytest.raises(RefusedError, match="OPENAI_BASE_URL cannot be used") as told:
        from_environment({"OPENAI_BASE_URL": f"http://me:{SECRET}@h", "OPENAI_MODEL": "m"})
    assert SECRET not in f"{told.value.message} {told.value.hint}"
    with pytest.raises(RefusedError, match="without encryption"):
        from_environment({"base_url": "http://h.example", "model": "m", "api_key": SECRET})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it holds no keys"),
        ("[1]", "it holds no keys"),
        ("model: x", "missing required field `base_url`"),
        ('{"base_url": 7, "model": "x"}', r"Expected `str`, got `int` - at `\$.base_url`"),
        ("{", "is no YAML"),
        (f"base_url: http://127.0.0.1:1\nmodel: x\napi_key: [{SECRET}]", "Expected `str | null`"),
    ],
)
def test_a_file_that_is_something_else(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "client.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=said.replace("|", r"\|")) as told:
        from_file(file)
    assert str(file) in told.value.message
    assert SECRET not in told.value.message
    with pytest.raises(InvalidInputError, match="Cannot read"):
        from_file(tmp_path / "nothing")


def test_what_a_later_version_adds_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "client.json"
    file.write_text('{"base_url": "http://127.0.0.1:1", "model": "m", "more": {"x": 1}}', encoding="utf-8")
    assert from_file(file) == ClientConfig("http://127.0.0.1:1/v1", "m", None, "")
