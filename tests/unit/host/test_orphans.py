"""Children that come to a process when their own parent has ended, as the supervisor's do."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to the next of their parents")

ADOPTER = """
import ctypes, os, subprocess, sys, time
import psutil
from provision.host.children import reap_all

ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
subprocess.run(["sh", "-c", "sleep {seconds} & exit 0"], check=True)
children = psutil.Process().children()
assert len(children) == 1, children
began = time.monotonic()
reap_all({limit_s})
print(len(psutil.Process().children()), time.monotonic() - began < {limit_s})
for child in psutil.Process().children():
    child.kill()
"""


@pytest.mark.parametrize(
    ("seconds", "limit_s", "said"),
    [("0", 60, "0 True"), ("0.3", 60, "0 True"), ("100", 0.3, "1 False")],
    ids=["has ended", "ends soon", "does not end"],
)
def test_orphans_are_collected_as_they_end_within_a_limit(seconds: str, limit_s: float, said: str) -> None:
    program = ADOPTER.format(seconds=seconds, limit_s=limit_s)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, said), done.stderr


def test_who_has_no_children_does_not_wait() -> None:
    program = "from provision.host.children import reap_all; reap_all(3600)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
