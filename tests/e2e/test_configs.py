"""``fabric config``: every format, used by the official packages; written into files, edited, taken back."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
import tomlkit

from tests.e2e.conftest import Served
from tests.e2e.openai_client import use_with_openai
from tests.e2e.traces import below
from tests.standin.command import Fabric
from tests.standin.openai_server import OpenAIServer, Script, serving
from tests.standin.web_server import Answer, Request, serving_site

FAILED, USAGE, UNREACHABLE = 1, 64, 69
SETTINGS = '{\n  // the dark one\n  "theme": "dark",\n  "env": { "EDITOR": "vi" }\n}\n'
ASK: Any = {"max_tokens": 8, "messages": [{"role": "user", "content": "Say hello."}]}


@pytest.mark.engine
def test_every_format_is_listed_and_rendered_for_the_real_engine(served: Served) -> None:
    listed = served.fabric.succeed("config", "--list")
    assert listed["formats"] == [tool["name"] for tool in listed["tools"]]
    assert len(listed["formats"]) >= 15
    assert all(tool.keys() >= {"name", "title", "docs", "syntax", "path", "use", "needs"} for tool in listed["tools"])
    shown = served.fabric("config", "--list").stdout
    for name in listed["formats"]:
        assert name in shown
        document = served.fabric.succeed("config", name)
        assert (document["format"], document["written"], document["model"]) == (name, None, served.model)
        assert served.base_url.removesuffix("/v1") in document["text"]


@pytest.mark.engine
def test_the_official_packages_work_from_what_is_rendered(served: Served) -> None:
    told = json.loads(served.fabric("config", "json").stdout)
    use_with_openai(told["base_url"], told["model"])

    env = json.loads(served.fabric("config", "claude-code").stdout)["env"]
    address, token = env["ANTHROPIC_BASE_URL"], env["ANTHROPIC_AUTH_TOKEN"]
    with anthropic.Anthropic(base_url=address, auth_token=token, api_key=None, max_retries=0, timeout=120) as client:
        answer = client.messages.create(model=env["ANTHROPIC_MODEL"], **ASK)
        assert answer.type == "message"
        assert 0 < answer.usage.output_tokens <= 8
        with client.messages.stream(model=env["ANTHROPIC_DEFAULT_HAIKU_MODEL"], **ASK) as stream:
            assert "".join(stream.text_stream)

    codex = tomlkit.parse(served.fabric("config", "codex").stdout).unwrap()
    provider = codex["model_providers"][codex["model_provider"]]
    with openai.OpenAI(base_url=provider["base_url"], api_key="none", max_retries=0, timeout=120) as client:
        said = client.responses.create(model=codex["model"], input="Say hello.", max_output_tokens=8)
        assert said.output_text


@pytest.mark.engine
def test_the_shell_is_led_to_this_server_by_its_routing_too(served: Served) -> None:
    names = ("INFERENCE_BACKEND", "LLAMACPP_BASE_URL", "LLAMACPP_API_KEY")
    text = served.fabric("config").stdout
    assert [line.partition("=")[0].removeprefix("export ") for line in text.splitlines()].count("OPENAI_BASE_URL") == 1
    exported = dict(line.removeprefix("export ").partition("=")[::2] for line in text.splitlines())
    assert [exported[name] for name in names] == ["llamacpp", served.base_url, "none"]


@pytest.fixture
def up(quick: Fabric) -> Fabric:
    """A server that serves, with the stand-in for the engine."""
    quick.succeed("up", "--no-smoke")
    return quick


def test_a_file_is_merged_edited_and_taken_back(up: Fabric, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(SETTINGS, encoding="utf-8")
    written = up.succeed("config", "opencode", "--write", str(path))
    assert (written["written"], written["changed"]) == (str(path), True)
    assert Path(written["backup"]).read_text(encoding="utf-8") == SETTINGS
    text = path.read_text(encoding="utf-8")
    assert text.startswith(SETTINGS[:40])
    assert written["base_url"] in text
    again = up("config", "opencode", "--write", str(path))
    assert "holds it already" in again.stdout
    assert written["backup"] in again.stdout
    assert path.read_text(encoding="utf-8") == text

    path.write_text(text.replace('"dark"', '"light"'), encoding="utf-8")
    undone = up.succeed("config", "--undo", str(path))["undone"]
    assert [(each["path"], each["outcome"]) for each in undone] == [(str(path), "edited")]
    assert path.read_text(encoding="utf-8") == SETTINGS.replace('"dark"', '"light"')
    assert up.succeed("config", "--undo")["undone"] == []
    assert up("config", "--undo", str(path)).returncode == USAGE


def test_what_cannot_be_taken_back_is_a_failure_and_can_be_tried_again(up: Fabric, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(SETTINGS, encoding="utf-8")
    up.succeed("config", "opencode", "--write", str(path))
    text = path.read_text(encoding="utf-8")
    path.write_text(text[:-2], encoding="utf-8")
    left = up("config", "--undo")
    assert left.returncode == FAILED, left.said
    assert "stays as it is" in left.stdout
    path.write_text(text, encoding="utf-8")
    assert [each["outcome"] for each in up.succeed("config", "--undo")["undone"]] == ["restored"]
    assert path.read_text(encoding="utf-8") == SETTINGS


def test_destroy_with_a_damaged_state_names_what_it_cannot_take_back(up: Fabric, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(SETTINGS, encoding="utf-8")
    up.succeed("config", "opencode", "--write", str(path))
    (up.prefix / "state.json").write_text("{", encoding="utf-8")
    done = up("destroy", "--yes")
    kept = up.prefix.with_name(f"{up.prefix.name}.config-files")
    assert done.returncode == 0, done.said
    assert "settings.json. They may still hold" in done.stdout
    assert f"What stood in them before is in {kept}." in done.stdout
    assert [copy.read_text(encoding="utf-8") for copy in kept.iterdir()] == [SETTINGS]


def test_undo_without_a_name_takes_everything_back(up: Fabric, tmp_path: Path) -> None:
    home, profile = tmp_path / "their home", tmp_path / "their home" / ".profile"
    home.mkdir()
    profile.write_text("umask 022\n", encoding="utf-8")
    before = below(home)
    up.succeed("config", "--write", str(profile))
    up.succeed("config", "zed", "--write", str(home / ".config" / "zed" / "settings.json"))
    up.succeed("config", "continue", "--write", "~/.continue/config.yaml", env={"HOME": str(home)})
    assert (home / ".continue" / "config.yaml").stat().st_mode & 0o077 == 0
    shown = up("config", "--undo")
    assert shown.stdout.count("which fabric had made") == 2
    assert f"{profile} is as it was." in shown.stdout
    assert below(home) == before
    assert profile.read_text(encoding="utf-8") == "umask 022\n"


def test_destroy_takes_back_what_it_can_and_says_where_the_rest_is(up: Fabric, tmp_path: Path) -> None:
    files = [tmp_path / "theirs" / f"{number}.json" for number in range(4)]
    files[0].parent.mkdir()
    for path in files[:3]:
        path.write_text(SETTINGS, encoding="utf-8")
    for path in files:
        up.succeed("config", "opencode", "--write", str(path))
    files[1].write_text(files[1].read_text(encoding="utf-8").replace('"vi"', '"ed"'), encoding="utf-8")
    files[2].write_text("broken", encoding="utf-8")
    done = up.succeed("destroy", "--yes")
    assert [each["outcome"] for each in done["taken_back"]] == ["restored", "edited", "left", "removed"]
    assert files[0].read_text(encoding="utf-8") == SETTINGS
    assert files[1].read_text(encoding="utf-8") == SETTINGS.replace('"vi"', '"ed"')
    assert files[2].read_text(encoding="utf-8") == "broken"
    aside = Path(done["taken_back"][2]["aside"])
    assert aside.read_text(encoding="utf-8") == SETTINGS
    assert below(files[0].parent) == {*map(str, files[:3]), str(aside)}
    assert not up.prefix.exists()


@pytest.mark.parametrize("point", ["journal", "replace"])
def test_a_write_killed_anywhere_is_finished_or_undone_by_the_next(up: Fabric, tmp_path: Path, point: str) -> None:
    path = tmp_path / "settings.json"
    for moment in range(1, 20):
        path.write_text(SETTINGS, encoding="utf-8")
        first = up("config", "opencode", "--write", str(path), env={"STANDIN_KILL": f"{point}:{moment}"})
        if moment % 2:
            second = up("config", "opencode", "--write", str(path))
            assert second.returncode == 0, second.said
            assert first.returncode == 0 or moment == 1 or "was interrupted" in second.stderr
        up.succeed("config", "--undo")
        assert path.read_text(encoding="utf-8") == SETTINGS, f"{point} {moment}"
        assert [entry.name for entry in tmp_path.iterdir() if "fabric-" in entry.name] == []
        assert not (up.prefix / "config-files").exists()
        if first.returncode == 0:
            break
        assert first.returncode == -signal.SIGKILL, first.said
    else:
        pytest.fail("no run survived: there are more moments than were tried")
    assert moment > 1


def test_whether_a_server_answers_what_a_tool_needs_is_not_known_while_it_does_not_run(up: Fabric) -> None:
    up.succeed("down")
    stopped = up("config", "claude-code", "--json")
    assert stopped.returncode == UNREACHABLE, stopped.said
    assert "fabric up" in stopped.json["error"]["hint"]
    assert up.succeed("config", "opencode")["text"]


def test_a_name_that_is_no_text_is_wrong_usage(up: Fabric, tmp_path: Path) -> None:
    done = up("config", "--write", str(tmp_path / os.fsdecode(b"\xff.env")))
    assert done.returncode == USAGE, done.said
    assert list(tmp_path.glob("*.env")) == []


@pytest.mark.parametrize("words", [("--list", "--undo"), ("--undo", "--write", "x"), ("--list", "--write", "x")])
def test_options_that_exclude_each_other(quick: Fabric, words: tuple[str, ...]) -> None:
    assert quick("config", *words).returncode == USAGE


def test_where_nothing_was_set_up_there_is_nothing_to_take_back(quick: Fabric) -> None:
    assert quick.succeed("config", "--undo")["undone"] == []
    assert quick.succeed("config", "--list")["formats"]
    assert not quick.prefix.exists()


def somebody(status: int, body: bytes) -> Any:
    """A server of somebody else's that answers a POST it knows nothing of like this."""

    def answer(request: Request) -> Answer:
        if request.path == "/v1/models":
            return Answer(body=json.dumps({"object": "list", "data": [{"id": "theirs", "object": "model"}]}).encode())
        if request.path == "/v1/chat/completions":
            choice = {"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
            return Answer(body=json.dumps({"choices": [choice], "usage": {}}).encode())
        return Answer(status, body)

    return answer


@pytest.mark.parametrize(
    ("status", "body", "works"),
    [
        (400, b'{"error": {"message": "messages is required"}}', True),
        (422, b"{}", True),
        (500, b"'messages' is required", True),
        (404, b"not found", False),
        (405, b"", False),
        (501, b"", False),
        (200, b'{"error": "Unexpected endpoint or method. (POST /v1/messages)"}', False),
    ],
)
def test_a_server_of_somebody_elses_is_asked_too(quick: Fabric, status: int, body: bytes, works: bool) -> None:
    with serving_site(somebody(status, body)) as site:
        words = ("--backend", "external", "--base-url", f"http://127.0.0.1:{site.port}/v1", "--no-smoke")
        quick.succeed("up", *words)
        done = quick("config", "claude-code", "--json")
        assert done.returncode == (0 if works else FAILED), done.said
        if not works:
            assert "Claude Code needs /v1/messages" in done.json["error"]["message"]
            assert "opencode" in done.json["error"]["hint"]
            assert "claude-code" not in done.json["error"]["hint"]
        assert site.paths[-1] == "/v1/messages"


@pytest.mark.parametrize(
    ("status", "why"),
    [(401, "refuses the key"), (403, "refuses the key"), (429, "cannot answer now"), (503, "cannot answer now")],
)
def test_a_refusal_that_says_nothing_of_the_path_is_neither_yes_nor_no(quick: Fabric, status: int, why: str) -> None:
    with serving_site(somebody(status, b"{}")) as site:
        quick.succeed("up", "--backend", "external", "--base-url", f"http://127.0.0.1:{site.port}/v1", "--no-smoke")
        done = quick("config", "codex", "--json")
    assert done.returncode == FAILED, done.said
    assert why in done.json["error"]["message"]
    assert str(status) in done.json["error"]["message"]
    assert done.json["error"]["hint"]


@pytest.fixture
def theirs() -> Iterator[OpenAIServer]:
    with serving(Script(model="theirs")) as server:
        yield server


def test_a_key_stays_out_of_files_whose_tools_read_variables(
    quick: Fabric, theirs: OpenAIServer, tmp_path: Path
) -> None:
    env = {"THEIR_KEY": "s3cr3t-key"}
    words = ("--backend", "external", "--base-url", theirs.base_url, "--api-key-env", "THEIR_KEY", "--no-smoke")
    quick.succeed("up", *words, env=env)
    path = tmp_path / "opencode.json"
    quick.succeed("config", "opencode", "--write", str(path))
    assert "{env:FABRIC_API_KEY}" in path.read_text(encoding="utf-8")
    assert "s3cr3t-key" not in path.read_text(encoding="utf-8")
    exported = quick("config").stdout
    assert "export FABRIC_API_KEY=s3cr3t-key" in exported
    assert "export OPENAI_COMPAT_BASE_URL=" in exported
