"""The program itself: what is told without a server, how it begins and ends, and what it leaves where."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import ollama
import psutil
import pytest

from tests.standin.command import eventually, free_port
from tests.standin.ollama_archive import make_archive, real_ollama
from tests.standin.ollama_server import OllamaServer, environment
from tests.unit.engines.conftest import Connect, Gguf, Start, make_model, tiny_gguf, write_gguf

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def run(program: Path, directory: Path, port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    (directory / "home").mkdir(exist_ok=True)
    env = environment(directory, port)
    return subprocess.run([program, *arguments], env=env, capture_output=True, text=True, timeout=60, check=False)


def test_without_a_server_the_version_is_that_of_the_client(program: Path, tmp_path: Path) -> None:
    told = run(program, tmp_path, free_port(), "--version")
    assert told.returncode == 0
    assert told.stdout.splitlines()[0] == "Warning: could not connect to a running Ollama instance"
    assert told.stdout.splitlines()[1].startswith("Warning: client version is ")


def test_with_a_server_the_version_is_told(server: OllamaServer, program: Path, tmp_path: Path) -> None:
    told = run(program, tmp_path, server.port, "--version")
    answer = server.client().get("/api/version").json()
    assert told.stdout == f"ollama version is {answer['version']}\n"


def test_a_taken_port_ends_it_at_once(server: OllamaServer, program: Path, tmp_path: Path) -> None:
    told = run(program, tmp_path, server.port, "serve")
    assert told.returncode == 1
    assert f"listen tcp 127.0.0.1:{server.port}: bind: address already in use" in told.stderr


def test_it_ends_well_at_sigterm_and_takes_its_children_along(
    server: OllamaServer, client: ollama.Client, model_file: Gguf
) -> None:
    make_model(client, model_file)
    client.generate("tiny")
    children = psutil.Process(server.process.pid).children(recursive=True)
    assert children
    server.process.terminate()
    assert server.process.wait(20) == 0
    assert eventually(lambda: [child for child in children if child.is_running()], until=lambda left: not left) == []


def test_its_keys_and_models_lie_where_it_was_told(server: OllamaServer) -> None:
    assert (server.home / ".ollama" / "id_ed25519").stat().st_mode & 0o777 == 0o600
    assert (server.models / "blobs").is_dir()
    assert not (server.home / ".ollama" / "models").exists()


def test_the_archive_is_laid_out_as_upstreams(tmp_path: Path) -> None:
    if real_ollama() is not None:
        pytest.skip("the archive holds the real program here")
    archive = make_archive(tmp_path)
    with tarfile.open(fileobj=io.BytesIO(zstd.decompress(archive.read_bytes()))) as tar:
        members = {member.name.removeprefix("./"): member for member in tar.getmembers()}
    wanted = {
        "bin/ollama",
        "lib/ollama/llama-server",
        "lib/ollama/cuda_v12",
        "lib/ollama/cuda_v13",
        "lib/ollama/vulkan",
    }
    assert wanted <= set(members)
    assert members["bin/ollama"].mode & 0o111
    assert (tmp_path / "sha256sum.txt").read_text(encoding="utf-8").endswith(f"  ./{archive.name}\n")


def test_a_model_stays_loaded_only_as_long_as_it_was_told(
    program: Path, start: Start, connect: Connect, model_file: Gguf
) -> None:
    client = connect(start(program, {"OLLAMA_KEEP_ALIVE": "1s"}))
    make_model(client, model_file)
    client.generate("tiny", keep_alive="5m")
    assert len(client.ps().models) == 1
    client.generate("tiny")
    assert is_unloaded(client)


def is_unloaded(client: ollama.Client) -> bool:
    """Wait until no model is in memory."""
    return not eventually(lambda: client.ps().models, until=lambda running: not running)


def test_what_the_environment_says_reaches_the_process_that_runs_the_model(
    standin_program: Path, start: Start, connect: Connect, tmp_path: Path
) -> None:
    server = start(standin_program, {"OLLAMA_NUM_PARALLEL": "2", "OLLAMA_KV_CACHE_TYPE": "q8_0"})
    client = connect(server)
    make_model(client, write_gguf(tmp_path / "own.gguf", tiny_gguf()))
    client.generate("tiny", options={"num_ctx": 512})
    (child,) = psutil.Process(server.process.pid).children()
    told = " ".join(child.cmdline())
    assert "-c 1024 -np 2 --cache-type-k q8_0 --cache-type-v q8_0" in told
    assert client.ps().models[0].context_length == 512


def test_a_model_process_that_dies_is_told_and_started_again(
    standin: OllamaServer, connect: Connect, tmp_path: Path
) -> None:
    server, client = standin, connect(standin)
    file = write_gguf(tmp_path / "own.gguf", tiny_gguf())
    make_model(client, file)
    crash = server.models / "blobs" / f"sha256-{file.sha256}.crash"
    crash.touch()
    with pytest.raises(ollama.ResponseError, match=r"process has terminated: signal: SIGABRT: GGML_ASSERT"):
        client.generate("tiny")
    crash.unlink()
    client.generate("tiny")
    psutil.Process(server.process.pid).children()[0].kill()
    assert is_unloaded(client)
    client.generate("tiny")
    assert len(client.ps().models) == 1


def test_a_program_without_its_runner_is_not_whole(
    standin_program: Path, start: Start, connect: Connect, tmp_path: Path
) -> None:
    bare = tmp_path / "bare" / "bin" / "ollama"
    bare.parent.mkdir(parents=True)
    bare.write_bytes(standin_program.read_bytes())
    bare.chmod(0o755)
    client = connect(start(bare))
    make_model(client, write_gguf(tmp_path / "own.gguf", tiny_gguf()))
    with pytest.raises(ollama.ResponseError, match="llama-server binary not found"):
        client.generate("tiny")
