"""Stands in for ``lib/ollama/llama-server``: the flags that Ollama gives it, and its states, texts and exit codes.

With ``xllamacpp`` in the interpreter that runs it, it is llama.cpp's own server and its answers are real. Without,
they are those of ``openai_server.py``; it then loads any file that begins as a GGUF does, whose architecture it knows.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

ARCHITECTURES = ("llama", "qwen2", "qwen3", "qwen35", "gemma3", "gemma4", "gpt-oss", "phi3", "bert")


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("-c", type=int, default=0)
    parser.add_argument("-np", type=int, default=1)
    parser.add_argument("--cache-type-k", default="")
    parser.add_argument("--cache-type-v", default="")
    for flag in ("--no-webui", "--offline"):
        parser.add_argument(flag, action="store_true")
    return parser.parse_args(arguments)


def fail(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
    sys.exit(1)


def check(model: Path) -> None:
    from provision.artifacts.gguf import read_header
    from provision.errors import InvalidInputError

    if Path(f"{model}.crash").exists():
        print("GGML_ASSERT: crashing as asked", file=sys.stderr, flush=True)
        os.abort()
    with model.open("rb") as file:
        if file.read(4) != b"GGUF":
            fail("gguf_init_from_file: invalid magic characters\nerror loading model: failed to load model")
        file.seek(0)
        try:
            architecture = read_header(file, model.stat().st_size).keys.get("general.architecture")
        except InvalidInputError:
            return  # a few bytes that only begin as a GGUF
    if architecture not in ARCHITECTURES:
        unknown = f"unknown model architecture: '{architecture}'"
        fail(f"error loading model: error loading model architecture: {unknown}\nerror: failed to load model")


def serve_scripted(chosen: argparse.Namespace) -> None:
    import threading

    from tests.standin.openai_server import Script, serving

    check(chosen.model)
    with serving(Script(tokens=32, slots=chosen.np), chosen.port):
        print(f"main: server is listening on http://{chosen.host}:{chosen.port}", file=sys.stderr, flush=True)
        threading.Event().wait()


def serve_real(chosen: argparse.Namespace) -> None:
    import xllamacpp

    from provision.engines.llamacpp_launcher import assign, wait_for_signal

    params = xllamacpp.CommonParams()
    for names, value in (
        (["model.path"], str(chosen.model)),
        (["hostnames", "hostname"], chosen.host),
        (["port"], chosen.port),
        (["n_ctx"], chosen.c),
        (["n_parallel"], chosen.np),
        (["cpuparams.n_threads"], os.cpu_count() or 1),
        (["cpuparams_batch.n_threads"], os.cpu_count() or 1),
        (["n_gpu_layers"], 0),
        (["cache_ram_mib"], 0),
        (["ui", "webui"], False),
    ):
        assign(params, names, value)
    server = xllamacpp.Server(params)
    wait_for_signal()
    del server
    os._exit(0)


def main(arguments: list[str]) -> int:
    chosen = options(arguments)
    try:
        import xllamacpp  # noqa: F401
    except ImportError:
        serve_scripted(chosen)
    else:
        serve_real(chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
