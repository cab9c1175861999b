"""All engines: a new one is a row here."""

from __future__ import annotations

from provision.engines.engine import Engine
from provision.engines.llamacpp import LlamaCpp

ENGINES: dict[str, Engine] = {engine.name: engine for engine in (LlamaCpp(),)}
