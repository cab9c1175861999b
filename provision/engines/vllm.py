"""vLLM, in an environment of its own, through its server for OpenAI's API."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from provision.domain.engine import EngineRelease, Health, Launch, Trial
from provision.domain.model import Model
from provision.domain.selection import Selection
from provision.domain.spec import AUTO
from provision.engines.engine import Engine, Placement, own_python, program_beside

LAUNCHER, CONVERTER, PARAMETERS = "vllm_launcher.py", "vllm_convert.py", "parameters.json"
VERSION_TEXT = "version.txt"
LEAST_CACHE_BYTES = 64 << 20
NO_DOMAIN = "none.invalid"  # RFC 6761: nobody can have it
_CACHES = {
    "VLLM_CACHE_ROOT": "vllm",
    "VLLM_CONFIG_ROOT": "vllm-config",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "XDG_CACHE_HOME": "cache",
    "CUDA_CACHE_PATH": "cuda",
    "FLASHINFER_WORKSPACE_BASE": "flashinfer",
}
_INNER_INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "TP_SOCKET_IFNAME")


class Vllm(Engine):
    """See ``Engine``. It is started from a directory of weights, never from a name on a hub."""

    name = "vllm"
    health = Health("/health")  # it listens once it can serve, and answers 503 when its engine has died
    stop_grace_s = 30

    def preflight(self, release: EngineRelease, engine: Path, generation: Path) -> Sequence[Trial]:
        argv = (*own_python(engine), str(generation / LAUNCHER))
        env = _environment(release.acceleration, engine, generation)
        return [Trial(Launch(argv, env, program_beside(LAUNCHER)), VERSION_TEXT)]

    def launch(self, selection: Selection, place: Placement) -> Launch:
        parameters = {
            "arguments": _arguments(selection, place),
            "api_key_file": str(place.api_key) if place.api_key else None,
            "work_directory": str(place.state / "work"),
        }
        files = {**program_beside(LAUNCHER), PARAMETERS: json.dumps(parameters, indent=1)}
        argv = (*own_python(place.engine), str(place.generation / LAUNCHER))
        env = _environment(selection.acceleration, place.engine, place.state) | _visible_gpus(selection)
        return Launch((*argv, str(place.generation / PARAMETERS)), env, files)

    def converted(self, model: Model) -> str | None:
        return "safetensors" if model.format == "gguf" else None

    def convert(self, engine: Path, model: Path, target: Path, generation: Path) -> Launch:
        argv = (*own_python(engine), str(generation / CONVERTER), str(model), str(target))
        return Launch(argv, _environment("cpu", engine, generation), program_beside(CONVERTER))


def _arguments(selection: Selection, place: Placement) -> list[str]:
    """Return the arguments of the server.

    The KV cache has the size that the fit was made for: by itself vLLM takes nearly all memory, on a processor too.
    """
    spec = selection.spec
    said = ["--model", str(place.model), "--served-model-name", selection.model.name]
    said += ["--load-format", "safetensors", "--host", selection.host, "--port", str(selection.port)]
    said += ["--max-model-len", str(selection.context), "--max-num-seqs", str(selection.parallel)]
    said += ["--kv-cache-memory-bytes", str(kv_cache_bytes(selection)), *_share_of_gpus(selection)]
    said += ["--disable-uvicorn-access-log"]
    said += ["--allowed-media-domains", NO_DOMAIN]  # by itself it fetches whatever address a request names
    said += ["--enforce-eager"] if selection.acceleration == "cpu" else []  # compiling takes longer than it saves
    said += ["--kv-cache-dtype", "fp8"] if spec.kv_cache not in (AUTO, "f16") else []
    return said + _parsers(selection.model)


def _parsers(model: Model) -> list[str]:
    """Return how it tells calls of tools, and what a model thinks, from its answer: by itself it does not."""
    parsers = model.parsers
    said = ["--reasoning-parser", parsers.reasoning] if parsers.reasoning else []
    return said + (["--enable-auto-tool-choice", "--tool-call-parser", parsers.tool_call] if parsers.tool_call else [])


def kv_cache_bytes(selection: Selection) -> int:
    """Return each worker's room for the cache: a whole context for each request, and a tenth for the blocks."""
    of_each = -(-selection.fit.kv_cache_bytes // selection.fit.workers)
    return max(of_each, LEAST_CACHE_BYTES) * 11 // 10


def _share_of_gpus(selection: Selection) -> list[str]:
    """Return among how many GPUs each layer is divided, and the share of their memory that has to be free.

    By itself vLLM does not start where less than nine tenths are free, although its cache has a size already.
    """
    fit = selection.fit
    if selection.acceleration == "cpu":
        return []
    said = ["--tensor-parallel-size", str(fit.workers)]
    if fit.total_bytes:
        share = min(1.0, math.ceil(fit.need_bytes / fit.total_bytes * 100) / 100)
        said += ["--gpu-memory-utilization", f"{share:.2f}"]
    return said


def _visible_gpus(selection: Selection) -> dict[str, str]:
    """Return what shows vLLM its GPUs and no others, where all of them can be named; else it takes the first ones."""
    named = selection.acceleration == "cuda" and all(key.startswith(("GPU-", "MIG-")) for key in selection.devices)
    return {"CUDA_VISIBLE_DEVICES": ",".join(selection.devices)} if named and selection.devices else {}


def _environment(acceleration: str, engine: Path, directory: Path) -> dict[str, str]:
    """Return what keeps vLLM offline, silent about its user, and all that it writes inside ``directory``."""
    env = {name: str(directory / place) for name, place in _CACHES.items()}
    env |= {"LD_LIBRARY_PATH": str(engine / "lib" / "provided")}
    env |= {"HOME": str(directory), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    env |= {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
    }
    env |= dict.fromkeys(_INNER_INTERFACES, "lo")  # else its processes meet at this machine's address on the network
    return env | ({"VLLM_TARGET_DEVICE": "cpu"} if acceleration == "cpu" else {})
