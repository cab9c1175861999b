"""A server that somebody else runs: used like one of our own, and never touched."""

from __future__ import annotations

import json
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from tests.standin.command import Fabric, free_port
from tests.standin.openai_server import OpenAIServer, Script, serving
from tests.standin.web_server import Answer, Request, serving_site

KEY = "sk-of-the-host-0123456789"
QUICK_BENCH = ("--concurrency", "1", "--repeats", "3", "--prompt-tokens", "32", "--output-tokens", "8")


def external(base_url: str, *more: str) -> tuple[str, ...]:
    return ("--backend", "external", "--base-url", base_url, *more)


def actions(document: Any) -> dict[str, str]:
    return {change["resource"].partition("/")[0]: change["action"] for change in document["changes"]}


def listing(*names: str) -> tuple[int, str]:
    return 200, json.dumps({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})


def guarded(request: Request) -> Answer:
    """A hosted service: nothing without the key."""
    if request.headers.get("Authorization") != f"Bearer {KEY}":
        return Answer(401, b'{"error": {"message": "no valid key"}}')
    if request.path == "/v1/models":
        return Answer(body=listing("hosted")[1].encode())
    if request.path != "/v1/chat/completions":
        return Answer(404, b"{}")
    choice = {"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    return Answer(body=json.dumps({"choices": [choice], "usage": {}}).encode())


@pytest.fixture
def theirs() -> Iterator[OpenAIServer]:
    with serving(Script(model="theirs")) as server:
        yield server


def test_it_is_served_through_from_up_to_destroy(quick: Fabric, theirs: OpenAIServer) -> None:
    up = quick.succeed("up", *external(theirs.base_url))
    assert (up["backend"], up["engine"], up["model"], up["pid"]) == ("external", "openai-compatible", "theirs", None)
    assert (up["base_url"], up["changed"], up["smoke"]["ok"]) == (theirs.base_url, True, True)
    assert actions(up) == {"engine": "none", "model": "none", "server": "none", "config": "create"}
    assert quick.succeed("up", *external(theirs.base_url))["changed"] is False

    status = quick.succeed("status")
    assert (status["state"], status["backend"], status["engine"]) == ("ready", "external", "openai-compatible")
    assert (status["pid"], status["uptime_s"], status["drift"]) == (None, None, [])
    config = quick.succeed("config", "json")
    assert (config["base_url"], config["model"], config["api_key"]) == (theirs.base_url, "theirs", None)
    assert "--backend external" in config["local_llm_start_cmd"]
    assert quick.succeed("smoke")["ok"] is True
    report = quick.succeed("bench", *QUICK_BENCH)
    assert (report["backend"], report["levels"][0]["errors"]) == ("external", 0)
    assert quick.processes() == [], "nothing of ours runs"

    down = quick.succeed("down")
    assert (down["stopped"], down["left_running"]) == (False, theirs.base_url)
    assert "somebody else runs it" in quick("down").stdout
    assert quick.succeed("status")["state"] == "ready"
    quick.succeed("destroy", "--yes")
    assert not quick.prefix.exists()


def test_what_people_see_names_the_server(quick: Fabric, theirs: OpenAIServer) -> None:
    plan = quick("plan", *external(theirs.base_url, "--context", "8192"))
    assert plan.returncode == 0, plan.said
    assert "openai-compatible, run by somebody else" in plan.stdout
    assert "not heeded, because whoever runs that server has set it up: context" in plan.stdout
    assert not quick.prefix.exists(), "a plan makes nothing"
    up = quick("up", *external(theirs.base_url))
    assert "Ready in" in up.stdout, up.said
    assert theirs.base_url in quick("status").stdout


@pytest.mark.parametrize("ending", ["", "/", "/v1/"])
def test_the_address_may_be_written_in_any_way(quick: Fabric, theirs: OpenAIServer, ending: str) -> None:
    written = theirs.base_url.removesuffix("/v1") + ending
    assert quick.succeed("up", "--no-smoke", *external(written))["base_url"] == theirs.base_url


def test_it_may_stand_in_the_spec_file(quick: Fabric, theirs: OpenAIServer, tmp_path: Path) -> None:
    spec = tmp_path / "fabric.yaml"
    spec.write_text(yaml.safe_dump({"backend": "external", "base_url": theirs.base_url, "model": "theirs"}))
    assert quick.succeed("up", "--no-smoke", "-f", str(spec))["base_url"] == theirs.base_url


def test_a_plan_is_applied_as_it_was_saved(quick: Fabric, theirs: OpenAIServer, tmp_path: Path) -> None:
    saved = tmp_path / "plan.json"
    plan = quick.succeed("plan", *external(theirs.base_url), "--out", str(saved))
    assert (plan["backend"], plan["endpoint"]) == ("external", {"base_url": theirs.base_url, "model": "theirs"})
    assert quick.succeed("apply", str(saved), "--no-smoke")["base_url"] == theirs.base_url


def test_a_server_that_goes_away_is_told_and_not_restarted(quick: Fabric) -> None:
    port = free_port()
    with serving(Script(model="theirs"), port) as theirs:
        quick.succeed("up", "--no-smoke", *external(theirs.base_url))
    status = quick.succeed("status")
    assert (status["state"], status["pid"], status["drift"]) == ("failed", None, [])
    assert f"nobody answers at http://127.0.0.1:{port}/v1" in status["detail"]
    for verb in (("smoke",), ("bench",), ("up", *external(theirs.base_url))):
        outcome = quick(*verb)
        assert outcome.returncode == 69, outcome.said
    with serving(Script(model="theirs"), port):
        assert quick.succeed("status")["state"] == "ready"


@pytest.mark.parametrize("data", [None, [], [None, 7, {"id": 5}], {"id": "theirs"}, "theirs"])
def test_a_list_that_makes_no_sense_is_no_crash(quick: Fabric, data: Any) -> None:
    script = Script(model="theirs")
    with serving(script) as theirs:
        quick.succeed("up", "--no-smoke", *external(theirs.base_url))
        script.models = (200, json.dumps({"data": data}))
        status = quick.succeed("status")
        assert (status["state"], status["detail"]) == ("degraded", "it serves nothing, not theirs")


def test_of_several_models_one_is_named(quick: Fabric) -> None:
    with serving(Script(models=listing("qwen3-8b", "gemma-27b"))) as theirs:
        which = quick("up", *external(theirs.base_url), "--json")
        assert which.returncode == 64, which.said
        assert "lists several models: qwen3-8b, gemma-27b. Which one?" in which.json["error"]["message"]
        unknown = quick("up", *external(theirs.base_url, "--model", "qwen3-8"), "--json")
        assert unknown.returncode == 64, unknown.said
        assert "Did you mean 'qwen3-8b'?" in unknown.json["error"]["message"]
        assert quick.succeed("up", "--no-smoke", *external(theirs.base_url, "--model", "gemma-27b"))["changed"] is True


@pytest.mark.parametrize(
    ("base_url", "more", "code"),
    [
        ("ftp://127.0.0.1/v1", (), 64),
        ("http://user:secret@127.0.0.1:9/v1", (), 77),
        ("http://169.254.169.254/v1", (), 77),
        ("http://[fe80::1]/v1", (), 77),
        ("http://api.example.com/v1", ("--api-key-env", "HOST_KEY"), 77),
        ("http://127.0.0.1:9/v1", ("--api-key-env", "NOT_SET"), 64),
        ("http://127.0.0.1:9/v1", (), 69),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(
    quick: Fabric, base_url: str, more: tuple[str, ...], code: int
) -> None:
    refused = quick("up", *external(base_url, *more), "--json", env={"HOST_KEY": KEY})
    assert refused.returncode == code, refused.said
    assert "secret" not in refused.said
    assert quick("plan", *external(base_url, *more), env={"HOST_KEY": KEY}).returncode == code


def test_what_cannot_be_promised_is_refused(quick: Fabric, theirs: OpenAIServer, tmp_path: Path) -> None:
    assert quick("up", *external(theirs.base_url, "--require-gpu")).returncode == 64
    facts = tmp_path / "facts.json"
    facts.write_text(quick("facts", "--json").stdout, encoding="utf-8")
    elsewhere = quick("plan", *external(theirs.base_url), "--facts", str(facts))
    assert elsewhere.returncode == 64, elsewhere.said
    assert "only asking it tells" in elsewhere.stderr


def test_a_hosted_one_gets_its_key_and_nobody_else_does(quick: Fabric, tmp_path: Path) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusted = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    env = {"SSL_CERT_FILE": str(trusted), "HOST_KEY": KEY}
    with serving_site(guarded, context) as hosted:
        wish = external(f"https://127.0.0.1:{hosted.port}", "--api-key-env", "HOST_KEY", "--no-smoke")
        untrusted = quick("up", *wish, env={"HOST_KEY": KEY})
        assert untrusted.returncode == 69, untrusted.said
        assert "certificate is not trusted" in untrusted.stderr
        unasked = quick("up", *wish[:4], env=env)
        assert (unasked.returncode, "wants an API key" in unasked.stderr) == (64, True), unasked.said
        wrong = quick("up", *wish, env={**env, "HOST_KEY": "another"})
        assert (wrong.returncode, "does not take the API key in HOST_KEY" in wrong.stderr) == (64, True), wrong.said
        up = quick.succeed("up", *wish, env=env)
        assert up["base_url"] == f"https://127.0.0.1:{hosted.port}/v1"
        without = {"SSL_CERT_FILE": str(trusted)}
        assert quick.succeed("status", env=without)["state"] == "ready", "it is kept for this prefix"
        assert quick.succeed("up", *wish, env=without)["changed"] is False
        assert quick.succeed("config", "json", env=without)["api_key"] == KEY
    holding = [path for path in quick.prefix.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert holding == [quick.prefix / "secrets" / "api-key"]
    assert holding[0].stat().st_mode & 0o077 == 0


def test_a_key_does_not_follow_to_another_host(quick: Fabric, theirs: OpenAIServer) -> None:
    with serving_site(guarded) as first, serving_site(guarded) as second:
        one, other = (f"http://127.0.0.1:{server.port}" for server in (first, second))
        key = ("--api-key-env", "HOST_KEY", "--no-smoke")
        quick.succeed("up", *external(one, *key), env={"HOST_KEY": KEY})
        refused = quick("up", *external(other, *key))
        assert (refused.returncode, "holds no API key" in refused.stderr) == (64, True), refused.said
        assert quick("up", "--no-smoke", "--api-key-env", "HOST_KEY").returncode == 64, "nor to our own server"
        assert not [request for request in second.requests if "Authorization" in request.headers]
        quick.succeed("up", "--no-smoke", *external(theirs.base_url))
        assert not (quick.prefix / "secrets" / "api-key").exists()


def test_ours_is_stopped_for_theirs_and_back_again(quick: Fabric, theirs: OpenAIServer) -> None:
    ours = quick.succeed("up", "--no-smoke")
    switched = quick("up", "--no-smoke", *external(theirs.base_url))
    assert switched.returncode == 0, switched.said
    assert "Stopping our own server" in switched.stderr
    assert quick.processes() == []
    assert quick.succeed("logs")["lines"] == [], "what ours said is no word of theirs"
    status = quick.succeed("status")
    assert (status["state"], status["base_url"], status["drift"]) == ("ready", theirs.base_url, [])
    back = quick.succeed("up", "--no-smoke")
    assert actions(back) == {"engine": "none", "model": "none", "config": "update", "server": "create"}
    assert back["base_url"] == ours["base_url"]
    assert len(quick.processes()) == 2
    planned = quick.succeed("plan", *external(theirs.base_url))
    assert actions(planned) == {"engine": "none", "model": "none", "server": "delete", "config": "update"}
    reasons = [change["reason"] for change in planned["changes"] if change["resource"] == "config/external"]
    assert reasons == [f"model {ours['model']} → theirs, server our own → {theirs.base_url}"]


def test_theirs_may_take_its_time_after_ours_was_stopped(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    with serving(Script(model="slow", prompt_s=0.5)) as slow:
        assert quick.succeed("up", "--no-smoke", *external(slow.base_url))["model"] == "slow"


@pytest.mark.faults
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("point", "moments"), [("journal", range(1, 60)), ("replace", range(1, 60, 2)), ("unlink", range(1, 60, 3))]
)
def test_a_switch_killed_anywhere_is_finished_by_the_next(
    quick: Fabric, theirs: OpenAIServer, point: str, moments: range
) -> None:
    killed = 0
    for number in moments:
        quick.succeed("up", "--no-smoke")
        wish = external(theirs.base_url, "--no-smoke", "--api-key-env", "SOME_KEY")
        env = {"SOME_KEY": KEY}
        first = quick("up", *wish, env={**env, "STANDIN_KILL": f"{point}:{number}"})
        if first.returncode == 0:
            break
        assert first.returncode == -signal.SIGKILL, first.said
        killed += 1
        quick.succeed("up", *wish, env=env)
        assert quick.processes() == []
        assert (quick.prefix / "secrets" / "api-key").read_text(encoding="utf-8").strip() == KEY
        plan = quick.succeed("plan", *wish[:-3], "--api-key-env", "SOME_KEY", env=env)
        assert set(actions(plan).values()) == {"none"}, (number, plan["changes"])
    else:
        pytest.fail("no run survived: there are more moments than were tried")
    assert killed >= 2


@pytest.mark.faults
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("point", "moments"), [("journal", range(1, 60)), ("replace", range(1, 60, 2))])
def test_the_way_back_killed_anywhere_is_finished_by_the_next(
    quick: Fabric, theirs: OpenAIServer, point: str, moments: range
) -> None:
    killed = 0
    for number in moments:
        quick.succeed("up", "--no-smoke", *external(theirs.base_url))
        first = quick("up", "--no-smoke", env={"STANDIN_KILL": f"{point}:{number}"})
        if first.returncode == 0:
            break
        assert first.returncode == -signal.SIGKILL, first.said
        killed += 1
        again = quick.succeed("up", "--no-smoke")
        assert len(quick.processes()) == 2, "the supervisor and the server, once"
        assert again["pid"] == quick.server_pid()
        assert set(actions(quick.succeed("plan")).values()) == {"none"}, number
    else:
        pytest.fail("no run survived: there are more moments than were tried")
    assert killed >= 2
