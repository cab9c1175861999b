"""Few open files, little memory, few processes: it works, or one line says what there is too little of."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.another_user import another_user
from tests.faults.oracle import WISH, Oracle
from tests.standin.command import Fabric

pytestmark = pytest.mark.faults

LIMITS = {
    "16 open files": (resource.RLIMIT_NOFILE, 16),
    "10 open files": (resource.RLIMIT_NOFILE, 10),
    "150 MB of memory": (resource.RLIMIT_AS, 150 << 20),
    "60 MB of memory": (resource.RLIMIT_AS, 60 << 20),
    "1 MB of stack": (resource.RLIMIT_STACK, 1 << 20),
    "2 s of processor time": (resource.RLIMIT_CPU, 2),
}


@pytest.mark.fault("few-resources")
@pytest.mark.parametrize(("which", "limit"), LIMITS.values(), ids=LIMITS.keys())
def test_with_few_resources_it_works_or_says_so(quick: Fabric, oracle: Oracle, which: int, limit: int) -> None:
    def limited() -> None:
        resource.setrlimit(which, (limit, limit))

    oracle.survived(quick, quick("up", *WISH, preexec_fn=limited))
    oracle.nothing_left(quick)


@pytest.mark.fault("few-processes")
@pytest.mark.parametrize("limit", [1, 4, 16])
def test_with_few_processes_it_works_or_says_so(quick: Fabric, theirs: Path, oracle: Oracle, limit: int) -> None:
    """Threads count as well. Root has no such limit."""
    with another_user(quick, theirs) as unlimited:
        limited = replace(unlimited, program=("prlimit", f"--nproc={limit}", *unlimited.program))
        oracle.survived(unlimited, limited("up", *WISH))
        oracle.nothing_left(unlimited)
