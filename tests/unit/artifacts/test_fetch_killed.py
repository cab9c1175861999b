"""A process that is killed while a file arrives, and two that want the same file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.standin.artifact_server import Answer, ArtifactServer
from tests.standin.command import eventually
from tests.unit.artifacts.fetching import CONTENT, SHA256, SIZE

PROGRAM = """
import json, sys, threading
from pathlib import Path
from provision.artifacts.fetch import Fetcher
from provision.domain.artifacts import PinnedFile
from provision.host.transport import Transport

root, file, options = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
local = Path(options["local"]) if "local" in options else None
fetcher = Fetcher({}, Transport({}), root, threading.Event(), root / "partial", local=local, offline=bool(local))
print(fetcher.file(PinnedFile(**file), root / sys.argv[4], lambda count: None))
"""


def start(root: Path, url: str, target: str = "f.bin", *prefix: str, **options: str) -> subprocess.Popen[str]:
    file = {"path": "f.bin", "urls": [url]} | ({} if options.pop("unpinned", "") else {"sha256": SHA256})
    words = [*prefix, sys.executable, "-c", PROGRAM, str(root), json.dumps(file), json.dumps(options), target]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(child: subprocess.Popen[str]) -> str:
    stdout, stderr = child.communicate(timeout=60)
    assert child.returncode == 0, stderr
    return stdout.strip()


@pytest.mark.fault("body-cut")
@pytest.mark.parametrize("unpinned", ["", "yes"])
@pytest.mark.parametrize("at", [1, SIZE // 3, SIZE - 1])
def test_9_a_killed_process_is_continued_by_the_next(
    server: ArtifactServer, tmp_path: Path, at: int, unpinned: str
) -> None:
    url = server.put("/f", Answer(CONTENT, stall_at=at))
    child = start(tmp_path, url, unpinned=unpinned)
    parts = lambda: [path.stat().st_size for path in tmp_path.glob("partial/*.part")]  # noqa: E731
    assert eventually(parts, until=lambda sizes: sizes == [at]) == [at]
    child.kill()
    child.communicate()
    server.put("/f", Answer(CONTENT))
    server.seen.clear()
    assert finish(start(tmp_path, url, unpinned=unpinned)) == SHA256
    assert (tmp_path / "f.bin").read_bytes() == CONTENT
    assert [seen.headers["range"] for seen in server.seen] == [f"bytes={at}-"]
    assert list((tmp_path / "partial").iterdir()) == []


def test_two_processes_that_want_one_file_never_mix_it(server: ArtifactServer, tmp_path: Path) -> None:
    url = server.put("/f", Answer(CONTENT, stall_at=SIZE // 2), Answer(CONTENT))
    first = start(tmp_path, url, "a")
    assert eventually(lambda: server.seen)
    second = start(tmp_path, url, "b")
    server.released.wait(0.5)
    assert len(server.seen) == 1, "the second waits"
    server.released.set()
    assert {finish(first), finish(second)} == {SHA256}
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == CONTENT


@pytest.mark.fault("network-gone")
def test_20_without_any_network_a_bundle_is_enough(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    if not unshare or subprocess.run([unshare, "-rn", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs unshare -rn (network namespaces), to have no network")
    (tmp_path / "bundle" / "sha256").mkdir(parents=True)
    (tmp_path / "bundle" / "sha256" / SHA256).write_bytes(CONTENT)
    child = start(tmp_path, "https://example.org/f", "f.bin", unshare, "-rn", local=str(tmp_path / "bundle"))
    assert finish(child) == SHA256
