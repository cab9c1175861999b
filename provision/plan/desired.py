"""What should be: the files of a generation, as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from provision.domain.engine import SERVER_FILE, ServerFile
from provision.domain.frozen import frozen
from provision.domain.selection import Selection
from provision.domain.spec import BUILTIN
from provision.engines.engine import Engine, Placement

MANIFEST_FILE = "manifest.json"


@frozen
class Paths:
    """The absolute paths that a generation refers to."""

    engine: Path
    model: Path
    generation: Path
    state: Path
    api_key: Path

    def placement(self, selection: Selection) -> Placement:
        """Return them as an engine is told."""
        api_key = self.api_key if selection.spec.api_key_env else None
        return Placement(self.engine, self.model, self.generation, self.state, api_key)


def generation_files(selection: Selection, engine: Engine, paths: Paths, key_fingerprint: str | None) -> dict[str, str]:
    """Return the text of every file of one generation by its name.

    ``key_fingerprint`` stands for the API key, which is in none of them.
    """
    launch = engine.launch(selection, paths.placement(selection))
    server = ServerFile(launch.argv, launch.env, engine.stop_grace_s, tuple(engine.failures()))
    manifest: dict[str, Any] = {
        "backend": selection.backend,
        "engine": paths.engine.name,
        "model": selection.model.name,
        "api_key_fingerprint": key_fingerprint,
    }
    if selection.spec.service != BUILTIN:
        manifest |= {"service": selection.spec.service, "linger": selection.spec.linger}
    return {
        **launch.files,
        SERVER_FILE: json.dumps(msgspec.to_builtins(server), indent=1) + "\n",
        MANIFEST_FILE: json.dumps(manifest, indent=1) + "\n",
    }
