"""The table of faults and the tests that name them are one: no fault without a test, no test of an unknown fault."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.faults.table import COMMAND, UNIT, faults

TESTS = Path(__file__).parents[1]
ROWS = range(1, 51)


def named() -> Iterator[tuple[str, str]]:
    """Yield the file and the fault of every ``pytest.mark.fault("id", …)``."""
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
                yield from ((path.relative_to(TESTS).as_posix(), ast.literal_eval(word)) for word in node.args)


def test_every_row_is_there() -> None:
    assert sorted({fault.row for fault in faults().values()}) == list(ROWS)


def test_every_fault_has_a_test_or_a_reason_why_not() -> None:
    tested = {fault for _, fault in named()}
    assert [fault.id for fault in faults().values() if bool(fault.cannot) is (fault.id in tested)] == []


def test_a_fault_of_the_whole_command_has_a_test_that_runs_it() -> None:
    """That each is judged is seen when they run; see ``tally.py``."""
    run = {fault for file, fault in named() if not file.startswith("unit/")}
    known = [fault for fault in faults().values() if not fault.cannot]
    assert {fault.level for fault in known} == {COMMAND, UNIT}
    assert [fault.id for fault in known if fault.level == COMMAND and fault.id not in run] == []


def test_no_test_names_an_unknown_fault() -> None:
    assert [(file, fault) for file, fault in named() if fault not in faults()] == []


def test_what_a_fault_is_and_how_it_is_injected_is_told() -> None:
    assert [fault.id for fault in faults().values() if not fault.cannot and not (fault.inject and fault.exits)] == []
