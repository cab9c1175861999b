"""The distribution of the client alone, built from this checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2] / "packages" / "client"


def build_client_wheel(place: Path) -> Path:
    """Build the wheel into ``place`` with the hatchling that is installed here; return it."""
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = place.glob("*.whl")
    return wheel
