"""Where what lives no longer than a process is kept, for this user only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def runtime_dir(env: Mapping[str, str]) -> Path:
    """Return fabric's directory in ``$XDG_RUNTIME_DIR``, else one named for this user in the temporary directory."""
    own = env.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(own) and os.path.isdir(own):
        return Path(own, "fabric")
    return Path(env.get("TMPDIR") or "/tmp", f"fabric-{os.getuid()}")  # noqa: S108 - whose it is is checked
