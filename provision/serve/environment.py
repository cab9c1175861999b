"""What a server inherits of the user's environment, kept in a file: its supervisor may be started by somebody else."""

from __future__ import annotations

import json
from collections.abc import Mapping

from provision.domain.engine import ServerFile
from provision.domain.server import INSTANCE_VARIABLE, Runtime
from provision.facts.gpu.gpu_env import read_gpu_env
from provision.host.files import commit
from provision.host.layout import Layout

SUPERVISOR_VARIABLE = "FABRIC_SUPERVISOR"  # by which a launcher sees that its supervisor ended before it began
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "SYSTEMROOT")  # and what says which GPUs an engine sees


def child_environment(layout: Layout, env: Mapping[str, str]) -> dict[str, str]:
    """Return a small environment whose home, caches and temporary files are all inside the prefix."""
    home = layout.child_home
    kept = {**{name: env[name] for name in _PASSED_ON if name in env}, **read_gpu_env(env)}
    inside = {
        "HOME": home,
        "TMPDIR": home / "tmp",
        "XDG_CACHE_HOME": home / "cache",
        "XDG_CONFIG_HOME": home / "config",
        "XDG_DATA_HOME": home / "data",
        "XDG_STATE_HOME": home / "state",
        "HF_HOME": home / "huggingface",
    }
    return {**kept, **{name: str(path) for name, path in inside.items()}, "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}


def keep_environment(layout: Layout, env: Mapping[str, str]) -> None:
    """Keep what the next server inherits of ``env``. Raises ``OSError``."""
    commit(layout.server_environment, json.dumps(child_environment(layout, env), indent=1).encode())


def kept_environment(layout: Layout) -> dict[str, str]:
    """Return what was kept. Raises ``OSError`` or ``ValueError`` where there is nothing of use."""
    kept: dict[str, str] = json.loads(layout.server_environment.read_bytes())
    return kept


def server_environment(kept: Mapping[str, str], server: ServerFile, runtime: Runtime) -> dict[str, str]:
    """Return all that a server is started with."""
    own = {SUPERVISOR_VARIABLE: str(runtime.supervisor.pid)}
    return {**kept, INSTANCE_VARIABLE: runtime.instance, **server.env, **own}
