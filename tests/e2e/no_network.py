"""Serving from a bundle where there is no network at all, in a network namespace of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.conftest import RUNNER
from tests.standin.command import NOBODY, Fabric

SCRIPT = (
    'ip link set lo up && "$@" up --no-smoke --port 0 $WISH --bundle "$BUNDLE" && '
    '"$@" status --json && "$@" config json && "$@" down'
)


def serve_cut_off(fabric: Fabric, bundle: Path, wish: Sequence[str]) -> None:
    """Serve and stop, or skip where such a namespace cannot be made. ``wish`` are words without spaces."""
    why = _why_not()
    if why:
        pytest.skip(why)
    env = fabric.environment({"BUNDLE": str(bundle), "WISH": " ".join(wish), "PIP_INDEX_URL": NOBODY})
    command = ["unshare", "-n", "sh", "-c", SCRIPT, "sh", sys.executable, str(RUNNER)]
    done = subprocess.run(command, env=env, cwd=fabric.home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"state": "ready"' in done.stdout


def _why_not() -> str | None:
    """Why a network of its own cannot be made here; ``None`` where it can."""
    unshare, ip = shutil.which("unshare"), shutil.which("ip")
    if not unshare or not ip:
        return "unshare and ip are needed"
    done = subprocess.run([unshare, "-n", ip, "link", "set", "lo", "up"], capture_output=True, check=False)
    return None if done.returncode == 0 else f"no network of its own: {done.stderr.decode().strip()}"
