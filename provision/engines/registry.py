"""All engines: a new one is a row here."""

from __future__ import annotations

from provision.engines.engine import Engine
from provision.engines.llamacpp import LlamaCpp

ENGINES: dict[str, Engine] = {engine.name: engine for engine in (LlamaCpp(),)}

# Engines that the command line knows by name and that this version cannot install yet.
NOT_YET: dict[str, str] = {
    "ollama": "this version of fabric does not install Ollama yet",
    "vllm": "this version of fabric does not install vLLM yet",
    "external": "this version of fabric does not adopt a running server yet",
}
