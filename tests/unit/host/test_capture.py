from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from posixpath import dirname
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.host.answer import Response
from provision.host.capture import Capture, CapturingMachine
from provision.host.capture_files import MAX_PLACEHOLDERS, encode, write
from provision.host.machine import MAX_READ_BYTES, NOT_FOUND, Access, Command, CommandResult, Listener, Platform, Space
from provision.host.redaction import Identity, Redactor
from provision.host.replay import ReplayMachine, UnknownCommand

LINUX = Platform("Linux", "x86_64", "6.1.0", "glibc 2.36", 1000)


class TreeMachine:
    """``nodes`` maps a path to what is there: a text, a link's target behind ``->``, or one of the words below.

    ``unreadable`` is a file that may not be read, ``unlistable`` a directory that may be walked through and not
    listed.
    """

    def __init__(self, nodes: Mapping[str, str], env: Mapping[str, str] | None = None) -> None:
        self.nodes = dict(nodes)
        self.platform = LINUX
        self.env: Mapping[str, str] = env or {}
        self.results: dict[tuple[str, ...], CommandResult] = {}
        self.servers: list[Listener] = []
        self.answers: dict[tuple[int, str], Response] = {}

    def _is_directory(self, path: str) -> bool:
        return any(name.startswith(f"{path.rstrip('/')}/") for name in self.nodes)

    def read_text(self, path: str) -> str | None:
        node = self.nodes.get(path, "unlistable")
        return None if node in ("unreadable", "unlistable") or node.startswith("->") else node

    def list_dir(self, path: str) -> tuple[str, ...]:
        if self.nodes.get(path) == "unlistable":
            return ()
        start = f"{path.rstrip('/')}/"
        return tuple(sorted({name[len(start) :].split("/")[0] for name in self.nodes if name.startswith(start)}))

    def exists(self, path: str) -> bool:
        return (path in self.nodes and not self.nodes[path].startswith("->")) or self._is_directory(path)

    def link_target(self, path: str) -> str | None:
        node = self.nodes.get(path, "")
        return node.removeprefix("->") or None if node.startswith("->") else None

    def access(self, path: str) -> Access | None:
        return Access(len(path) % 2 == 0, "render") if self.exists(path) else None

    def space(self, path: str) -> Space | None:
        return Space(12345, 67890)

    def listeners(self, ports: Sequence[int]) -> tuple[Listener, ...]:
        return tuple(each for each in self.servers if each.port in ports)

    def http_get(self, port: int, path: str) -> Response:
        return self.answers[port, path]

    def interrupt(self) -> None:
        pass

    def run(self, command: Command) -> CommandResult:
        return self.results.get(command.argv, NOT_FOUND)


def replayed(capture: Capture, directory: Path) -> ReplayMachine:
    write(encode(capture), directory)
    return ReplayMachine(directory, strict=True)


NAME = st.sampled_from(["a", "b", "c.d", "ö", "a b", "0000:01:00.0"])
PATH = st.lists(NAME, min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))
NODE = st.text(max_size=20) | st.sampled_from(
    ["unreadable", "->../../drivers/amdgpu", "->gone", "\xff\0", "\ufffd\ufffdx"]
)
QUESTIONS = st.lists(st.tuples(st.sampled_from(["read_text", "list_dir", "exists", "link_target", "access"]), PATH))


@st.composite
def trees(draw: st.DrawFn) -> dict[str, str]:
    """A tree in which nothing lies below a file; some directories cannot be listed."""
    nodes: dict[str, str] = {}
    for path, node in draw(st.dictionaries(PATH, NODE, max_size=8)).items():
        above = [path[:at] for at in range(1, len(path)) if path[at] == "/"]
        if not any(place in nodes for place in above) and not any(name.startswith(f"{path}/") for name in nodes):
            nodes[path] = node
    for path in list(nodes):
        if path.count("/") > 1 and draw(st.booleans()):
            nodes.setdefault(dirname(path), "unlistable")
    return nodes


@settings(max_examples=200)
@given(trees(), QUESTIONS, QUESTIONS)
def test_a_replay_answers_each_question_as_the_machine_did(
    nodes: dict[str, str],
    questions: list[tuple[str, str]],
    about_nodes: list[tuple[str, str]],
) -> None:
    named = [(question, path) for question, _ in about_nodes for path in nodes]
    machine = CapturingMachine(TreeMachine(nodes))
    answers = [(question, path, getattr(machine, question)(path)) for question, path in [*questions, *named]]
    with TemporaryDirectory() as place:
        again = replayed(machine.capture(), Path(place, "capture"))
        assert [(question, path, getattr(again, question)(path)) for question, path, _ in answers] == answers


def test_a_name_that_leads_nowhere_stands_in_its_directory_and_does_not_exist(tmp_path: Path) -> None:
    machine = CapturingMachine(TreeMachine({"/dev/by-path/gone": "->../gone", "/dev/null": "unreadable"}))
    assert machine.list_dir("/dev/by-path") == ("gone",)
    assert not machine.exists("/dev/by-path/gone")
    assert machine.access("/dev/by-path/gone") is None
    again = replayed(machine.capture(), tmp_path / "capture")
    assert again.list_dir("/dev/by-path") == ("gone",)
    assert not again.exists("/dev/by-path/gone")
    assert again.access("/dev/by-path/gone") is None


def test_all_else_is_kept_too(tmp_path: Path) -> None:
    inner = TreeMachine({})
    inner.results[("tool", "-x")] = CommandResult(3, "out\0", "é")
    machine = CapturingMachine(inner)
    machine.run(Command(("tool", "-x"), env={"A": "b"}))
    machine.run(Command(("none",)))
    assert machine.space("/prefix") == Space(12345, 67890)
    again = replayed(machine.capture("/prefix", "a note"), tmp_path / "capture")
    assert again.platform == LINUX
    assert (again.prefix, again.space("/x")) == ("/prefix", Space(12345, 67890))
    assert again.run(Command(("tool", "-x"))) == CommandResult(3, "out\0", "é")
    assert again.run(Command(("none",))) == NOT_FOUND
    assert json.loads((tmp_path / "capture" / "platform.json").read_text())["note"] == "a note"


def answered(status: int, body: bytes, **headers: str) -> Response:
    return Response(status, body, headers=headers)


def test_who_listens_and_what_is_answered_is_kept(tmp_path: Path) -> None:
    inner = TreeMachine({})
    inner.servers = [Listener(8080), Listener(11434, "ollama (process 812)", ours=True)]
    inner.answers = {
        (11434, "/"): answered(200, b"Ollama is running", server="x", date="today"),
        (11434, "/v1/models"): Response(0, error="timed out"),
        (8080, "/"): answered(404, b"\xff\xfe{"),
    }
    machine = CapturingMachine(inner)
    listening = machine.listeners((11434, 8080, 8000))
    answers = {asked: machine.http_get(*asked) for asked in inner.answers}
    again = replayed(machine.capture(), tmp_path / "capture")
    assert again.listeners((11434, 8080, 8000)) == (Listener(11434, "ollama (process 812)", True), Listener(8080))
    assert set(listening) == set(inner.servers)
    assert again.listeners((8000,)) == ()
    assert {asked: again.http_get(*asked) for asked in answers} == answers
    assert answers[11434, "/"].headers == {"server": "x"}
    with pytest.raises(UnknownCommand, match="GET /other from port 8080"):
        again.http_get(8080, "/other")
    assert ReplayMachine(tmp_path / "capture").http_get(8080, "/other").status == 0


def test_what_servers_tell_is_redacted_and_stays_json() -> None:
    told = {"id": "/home/alicex/m.gguf", "template": 'api_key="hunter22x"', "api_key": "hunter22x", "n_ctx": 4096}
    inner = TreeMachine({})
    inner.servers = [Listener(8080, "alicex-server (process 9)")]
    inner.answers = {
        (8080, "/props"): answered(200, json.dumps(told).encode(), location="http://alicex:pw@pelican7/"),
        (8080, "/"): answered(200, b"<p>alicex's server"),
    }
    machine = CapturingMachine(inner)
    machine.listeners((8080,))
    for asked in inner.answers:
        machine.http_get(*asked)
    redactor = Redactor(Identity(users=("alicex",), homes=("/home/alicex",), hosts=("pelican7",)))
    written = encode(machine.capture().redacted(redactor))["servers.json"]
    for secret in (b"alicex", b"hunter22x", b"pw@", b"pelican7"):
        assert secret not in written
    (server,) = json.loads(written)
    props = json.loads(server["answers"]["/props"]["body"])
    assert (props["id"], props["n_ctx"], props["api_key"]) == ("/home/user/m.gguf", 4096, "redacted")
    assert server["owner"] == "user-server (process 9)"


def test_a_machine_where_nobody_listens_has_no_file_of_servers(tmp_path: Path) -> None:
    machine = CapturingMachine(TreeMachine({}))
    assert machine.listeners((11434,)) == ()
    assert "servers.json" not in encode(machine.capture())
    assert replayed(machine.capture(), tmp_path / "capture").listeners((11434,)) == ()


def test_only_the_variables_that_were_looked_at_are_kept() -> None:
    machine = CapturingMachine(TreeMachine({}, {"A": "1", "B": "2", "SECRET": "3", "CUDA_X": "4"}))
    assert machine.env["A"] == "1"
    assert "B" in machine.env
    assert "C" not in machine.env
    assert machine.env.get("D") is None
    assert [name for name in machine.env if name.startswith("CUDA")] == ["CUDA_X"]
    assert dict(machine.env.items())["SECRET"] == "3"
    assert "3" in list(machine.env.values())
    assert len(machine.env) == 4
    assert machine.capture().env == {"A": "1", "B": "2"}


def test_the_same_question_gets_the_same_answer_while_the_machine_changes() -> None:
    inner = TreeMachine({"/proc/meminfo": "1"})
    machine = CapturingMachine(inner)
    assert machine.read_text("/proc/meminfo") == "1"
    inner.nodes["/proc/meminfo"] = "2"
    assert machine.read_text("/proc/meminfo") == "1"


def test_two_probes_that_ask_side_by_side_get_the_same_answer() -> None:
    both, answers = threading.Barrier(2), iter(["1", "2"])

    class Changing(TreeMachine):
        def read_text(self, path: str) -> str | None:
            both.wait(10)
            return next(answers)

    machine, read = CapturingMachine(Changing({})), []
    threads = [threading.Thread(target=lambda: read.append(machine.read_text("/x"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [machine.capture().texts["/x"]] * 2 == read


def test_threads_may_ask_at_once() -> None:
    machine = CapturingMachine(TreeMachine({f"/d/{n}": str(n) for n in range(50)}))
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            for number in range(50):
                machine.read_text(f"/d/{number}/{os.urandom(2).hex()}")
                machine.run(Command((os.urandom(2).hex(),)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        sizes = [len(machine.capture().texts) for _ in range(50)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert sizes == sorted(sizes)


def test_what_is_no_utf_8_does_not_stop_it(tmp_path: Path) -> None:
    machine = CapturingMachine(TreeMachine({"/d/\udcff": "x", "/e": "\ufffd" * MAX_READ_BYTES}, {"V": "\udcfe"}))
    machine.list_dir("/d")
    whole = machine.read_text("/e")
    machine.read_text("/nul\0byte")
    assert machine.env["V"] == "\udcfe"
    again = replayed(machine.capture(), tmp_path / "capture")
    assert again.read_text("/e") == whole, "as long as it was read"
    assert (tmp_path / "capture" / "root" / "e").stat().st_size == MAX_READ_BYTES
    assert "\ufffd" in again.env["V"]


def test_a_huge_directory_makes_no_huge_capture(tmp_path: Path) -> None:
    names = {f"/d/{number}": "" for number in range(MAX_PLACEHOLDERS + 1)}
    machine = CapturingMachine(TreeMachine(names))
    listed = machine.list_dir("/d")
    capture = machine.capture()
    assert len(encode(capture)) < 10
    assert replayed(capture, tmp_path / "capture").list_dir("/d") == listed


@given(st.dictionaries(PATH, st.none() | st.text()), st.dictionaries(PATH, st.booleans()))
def test_answers_that_contradict_each_other_do_not_stop_it(texts: Any, exists: Any) -> None:
    names = encode(Capture(LINUX, texts=texts, exists=exists))
    directories = {dirname(name) for name in names}
    assert not directories & names.keys(), "no file is a directory as well"
