"""llama.cpp, through the server that the ``xllamacpp`` wheel carries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from provision.domain.engine import EngineRelease, Launch
from provision.domain.selection import Selection
from provision.engines.engine import Engine, Placement

LAUNCHER = "llamacpp_launcher.py"
PARAMETERS = "parameters.json"


class LlamaCpp(Engine):
    """See ``Engine``."""

    name = "llamacpp"

    def preflight(self, release: EngineRelease, engine: Path, generation: Path) -> Launch:
        return Launch((*_python(engine), str(generation / LAUNCHER)), _environment(engine), _launcher())

    def launch(self, selection: Selection, place: Placement) -> Launch:
        env = _environment(place.engine)
        if selection.spin_count is not None:
            env["GOMP_SPINCOUNT"] = str(selection.spin_count)
        files = {**_launcher(), PARAMETERS: json.dumps(_parameters(selection, place), indent=1)}
        argv = (*_python(place.engine), str(place.generation / LAUNCHER), str(place.generation / PARAMETERS))
        return Launch(argv, env, files)


def _python(engine: Path) -> tuple[str, ...]:
    """Neither the user's site-packages nor PYTHON* variables reach the engine, and the store is not written to."""
    return (str(engine / "bin" / "python"), "-I", "-B")


def _environment(engine: Path) -> dict[str, str]:
    return {"LD_LIBRARY_PATH": str(engine / "lib" / "provided")}


def _launcher() -> dict[str, str]:
    return {LAUNCHER: Path(__file__).with_name(LAUNCHER).read_text(encoding="utf-8")}


def _parameters(selection: Selection, place: Placement) -> dict[str, Any]:
    """What the launcher sets: for each value every attribute name that a version of the wheel gave it.

    The context is one pool for all slots in llama.cpp, hence context times parallel. The prompt cache in main
    memory is off: its default of 8 GiB is more than many machines have. Origins other than this machine's are
    answered without CORS permission.
    """
    threads = selection.threads

    def setting(value: Any, *names: str, required: bool = True) -> dict[str, Any]:
        return {"names": names, "value": value, "required": required}

    return {
        "api_key_file": str(place.api_key) if place.api_key else None,
        "settings": [
            setting(str(place.model), "model.path"),
            setting(selection.model.name, "model_alias"),
            setting(selection.host, "hostnames", "hostname"),
            setting(selection.port, "port"),
            setting(selection.context * selection.parallel, "n_ctx"),
            setting(selection.parallel, "n_parallel"),
            setting(threads, "cpuparams.n_threads"),
            setting(threads, "cpuparams_batch.n_threads"),
            setting(0 if selection.acceleration == "cpu" else -1, "n_gpu_layers"),
            setting("http://localhost", "cors_origins", required=False),
            setting(False, "cors_credentials", required=False),
            setting(0, "cache_ram_mib", required=False),
            setting(False, "ui", "webui", required=False),
            setting(False, "endpoint_slots", required=False),
            setting(True, "endpoint_metrics", required=False),
            setting(True, "offline", required=False),
        ],
    }
