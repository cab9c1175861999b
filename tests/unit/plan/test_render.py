from __future__ import annotations

import json
import subprocess

import jinja2
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from provision import assets
from provision.domain.client_config import ClientConfig
from provision.plan.render import render

PLAIN = ClientConfig("http://127.0.0.1:8080/v1", "smollm2-135m", None, "fabric up --no-smoke")
NASTY = ClientConfig("http://127.0.0.1:8080/v1", 'it\'s "$HOME" `id`', "k'e\"y$(id)", "fabric up --home '/a b/ü'")
PRINTABLE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=30)


@pytest.mark.parametrize("config", [PLAIN, NASTY], ids=["plain", "nasty"])
def test_a_shell_reads_back_exactly_what_was_written(config: ClientConfig) -> None:
    script = render(assets.template("env"), config) + 'printf "%s\\n" "$OPENAI_BASE_URL" "$OPENAI_MODEL" "$model"\n'
    script += 'printf "%s\\n" "${api_key:-none}" "$OPENAI_API_KEY"\n'
    script += 'printf "%s\\n" "$local_llm_start_cmd" "$local_llm_ensure_available"\n'
    done = subprocess.run(["/bin/sh", "-eu"], input=script, capture_output=True, text=True, check=True, env={})
    key = config.api_key or "none"
    assert done.stdout.splitlines() == [
        config.base_url, config.model, config.model, key, key, config.local_llm_start_cmd, "true",
    ]  # fmt: skip


@settings(max_examples=25)
@given(PRINTABLE, PRINTABLE, st.none() | PRINTABLE.filter(bool))
def test_json_and_yaml_say_the_same_for_any_text(model: str, command: str, key: str | None) -> None:
    config = ClientConfig("http://[::1]:1/v1", model, key, command, local_llm_ensure_available=False)
    as_json = json.loads(render(assets.template("json"), config))
    assert as_json == yaml.safe_load(render(assets.template("yaml"), config))
    assert as_json["model"] == model
    assert as_json["local_llm_start_cmd"] == command
    assert as_json.get("api_key") == key
    assert as_json["local_llm_ensure_available"] is False


def test_an_unknown_name_in_a_template_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("{{ base_ulr }}", PLAIN)
