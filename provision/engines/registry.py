"""All engines: a new one is a row here."""

from __future__ import annotations

from provision.engines.engine import Engine
from provision.engines.external import External
from provision.engines.llamacpp import LlamaCpp
from provision.engines.ollama import Ollama
from provision.engines.vllm import Vllm

ENGINES: dict[str, Engine] = {engine.name: engine for engine in (Ollama(), LlamaCpp(), Vllm(), External())}
