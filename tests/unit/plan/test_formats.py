"""Every template says what it is for, and what comes out of it is read by a parser of its language."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provision import assets
from provision.domain.client_config import ClientConfig
from provision.errors import InvalidInputError
from provision.plan.config_text import with_ours, without_ours
from provision.plan.documents import SYNTAXES
from provision.plan.formats import Format, read_format
from provision.plan.render import KEY_VARIABLE, NO_KEY, render

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAMES = assets.templates()
FORMATS = {name: read_format(name, assets.template(name)) for name in NAMES}
URL = "http://127.0.0.1:8080/v1"
PLAIN = ClientConfig(URL, "smollm2-135m", None, "fabric up --no-smoke")
FULL = ClientConfig(URL, "smollm2-135m", "s3cr3t-key", "fabric up --no-smoke", context=8192)
NASTY = ClientConfig(
    URL, 'it\'s "$HOME" `id` {x}: #é\U0001f600', "k'e\"y$(id)", "fabric up --home '/a b/ü'", context=64
)
CONFIGS = {"plain": PLAIN, "full": FULL, "nasty": NASTY}
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=20)
# Whose files have no way to name a variable: there the key itself has to stand, and the file is for the user alone.
WITH_THE_KEY = {"env", "json", "yaml", "claude-code", "aider", "open-webui", "copilot-cli"}


def exported(text: str) -> dict[str, str]:
    """What a shell understands."""
    script = f'{text}\n"$0" -c "import json, os; print(json.dumps(dict(os.environ)))"'
    done = subprocess.run(
        ["/bin/sh", "-euc", script, sys.executable], capture_output=True, text=True, check=True, env={}
    )
    variables: dict[str, str] = json.loads(done.stdout)
    return variables


def parsed(syntax: str, text: str) -> Any:
    """What a real parser of the language understands."""
    if syntax == "shell":
        return exported(text)
    if syntax == "python":
        return ast.dump(ast.parse(text))
    return {"json": json.loads, "yaml": yaml.safe_load, "toml": tomllib.loads}[syntax](text)


def rendered(name: str, config: ClientConfig) -> Any:
    return parsed(FORMATS[name].syntax, render(assets.template(name), config))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_parser_of_its_language_finds_the_address_and_the_model(name: str, config: ClientConfig) -> None:
    found = repr(rendered(name, config))
    assert config.root_url in found
    if FORMATS[name].syntax != "python":
        assert repr(config.model)[1:-1] in found or config.model.replace("'", "\\'") in found


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(ANY_TEXT, st.none() | ANY_TEXT, st.none() | st.integers(8, 10**6))
def test_whatever_the_model_and_the_key_are_called(name: str, model: str, key: str | None, context: int | None) -> None:
    if FORMATS[name].syntax != "shell":  # a process for each: test_render does it once for env
        rendered(name, ClientConfig(URL, model, key, "fabric up", context=context))


@pytest.mark.parametrize("name", NAMES)
def test_the_key_stands_only_where_the_tool_reads_no_variable(name: str) -> None:
    assert ("s3cr3t-key" in render(assets.template(name), FULL)) is (name in WITH_THE_KEY)


@pytest.mark.parametrize("name", NAMES)
def test_our_own_reader_understands_what_is_rendered(name: str) -> None:
    syntax = FORMATS[name].syntax
    text = render(assets.template(name), NASTY)
    if syntax in SYNTAXES:
        assert SYNTAXES[syntax].data(text) == parsed(syntax, text)
    now = with_ours(syntax, None, text)
    assert without_ours(syntax, now, text, None) is None


@pytest.mark.parametrize("name", NAMES)
def test_its_head_tells_what_it_is_for(name: str) -> None:
    each = FORMATS[name]
    assert each.docs.startswith("https://")
    assert each.title
    assert each.needs in (None, "/v1/messages", "/v1/responses")
    assert "{#" not in render(assets.template(name), PLAIN)


@pytest.mark.parametrize(
    "text",
    [
        "export A=1\n",
        "{#---\ntitle: A\n---\n#}\n",
        "{#---\ntitle: A\ndocs: x\nsyntax: ini\n---\n#}\n",
        "{#---\n: [\n---\n#}\n",
        "{#---\ntitle: A\ndocs: x\nsyntax: json\nmore: 1\n---\n#}\n",
    ],
)
def test_a_template_with_another_head_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"templates/odd\.j2"):
        read_format("odd", text)


def test_no_format_is_listed_anywhere_else() -> None:
    assert all(isinstance(each, Format) for each in FORMATS.values())
    code = "\n".join(path.read_text(encoding="utf-8") for path in (assets.ROOT / "provision").rglob("*.py"))
    assert not [name for name in NAMES if "-" in name and re.search(rf"['\"]{name}['\"]", code)]


def test_the_table_of_what_was_tried_has_each_format_once() -> None:
    text = (assets.ROOT / "docs" / "tools.md").read_text(encoding="utf-8").partition("| format | tried |")[2]
    table = text.partition("\n\n")[0]
    assert sorted(re.findall(r"`([a-z-]+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))) == NAMES
    untried = {name for name in NAMES if "Not tried" in assets.template(name)}
    assert untried == set(
        re.findall(r"`([a-z-]+)`", table.rpartition("| `aider`")[1] + table.rpartition("| `aider`")[2])
    )


def test_claude_code_is_given_the_root_and_a_token_but_no_key() -> None:
    env = rendered("claude-code", FULL)["env"]
    assert env["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:8080"
    assert (env["ANTHROPIC_AUTH_TOKEN"], env["ANTHROPIC_API_KEY"]) == ("s3cr3t-key", "")
    assert {value for key, value in env.items() if key.endswith("MODEL")} == {"smollm2-135m"}
    assert all(isinstance(value, str) for value in env.values())
    assert rendered("claude-code", PLAIN)["env"]["ANTHROPIC_AUTH_TOKEN"] == NO_KEY


@pytest.mark.parametrize(("context", "window"), [(8192, None), (131072, "131072")])
def test_claude_code_is_told_no_window_that_it_does_not_know(context: int, window: str | None) -> None:
    env = rendered("claude-code", replace(FULL, context=context))["env"]
    assert env.get("CLAUDE_CODE_AUTO_COMPACT_WINDOW") == window
    assert env["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == str(context // 4)


def test_codex_is_given_responses_and_the_name_of_the_variable() -> None:
    said = rendered("codex", FULL)
    provider = said["model_providers"][said["model_provider"]]
    assert (provider["base_url"], provider["wire_api"], provider["env_key"]) == (URL, "responses", KEY_VARIABLE)
    assert said["model_context_window"] == 8192
    assert "env_key" not in rendered("codex", PLAIN)["model_providers"]["fabric"], (
        "a variable that is not set is an error"
    )


def test_opencode_names_the_model_of_the_provider_that_it_defines() -> None:
    said = rendered("opencode", FULL)
    provider, _, model = said["model"].partition("/")
    assert said["provider"][provider]["options"] == {"apiKey": f"{{env:{KEY_VARIABLE}}}", "baseURL": URL}
    assert said["provider"][provider]["models"][model]["limit"] == {"context": 8192, "output": 2048}


def test_vscode_and_goose_are_given_the_whole_address() -> None:
    (group,) = rendered("vscode", PLAIN)
    assert group["models"][0]["url"] == rendered("goose", PLAIN)["base_url"] == f"{URL}/chat/completions"


def test_the_official_names_are_set_for_any_program() -> None:
    env = exported(render(assets.template("env"), FULL))
    assert (env["OPENAI_BASE_URL"], env["OPENAI_API_KEY"], env["OPENAI_MODEL"]) == (URL, "s3cr3t-key", "smollm2-135m")
    assert env[KEY_VARIABLE] == "s3cr3t-key"
    assert exported(render(assets.template("env"), PLAIN))[KEY_VARIABLE] == NO_KEY


@pytest.mark.parametrize(("backend", "host"), [("ollama", URL.removesuffix("/v1")), ("llamacpp", None)])
def test_the_shell_names_the_root_to_the_packages_that_want_it(backend: str, host: str | None) -> None:
    env = exported(render(assets.template("env"), replace(FULL, backend=backend)))
    assert (env["ANTHROPIC_BASE_URL"], env["ANTHROPIC_AUTH_TOKEN"]) == (URL.removesuffix("/v1"), "s3cr3t-key")
    assert env["ANTHROPIC_API_KEY"] == "", "a key for elsewhere would go out too"
    assert env.get("OLLAMA_HOST") == host


def test_what_somebody_has_called_their_continue_configuration_stays() -> None:
    mine = "name: Mine # really\nversion: 2.0.0\nschema: v1\nmodels:\n  - name: other\n    provider: ollama\n"
    ours = render(assets.template("continue"), FULL)
    now = with_ours("yaml", mine, ours, FORMATS["continue"].keep)
    said = yaml.safe_load(now)
    assert (said["name"], said["version"]) == ("Mine", "2.0.0")
    assert [model["name"] for model in said["models"]] == ["other", "fabric"]
    assert now.startswith(mine)
    assert without_ours("yaml", f"{now}# more\nrules: []\n", ours, mine) == f"{mine}# more\nrules: []\n"
