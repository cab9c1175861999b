"""Every line of a fix is a command that can be pasted, or a comment of the shell."""

from __future__ import annotations

import re
import subprocess

from provision.facts.findings.find import find
from provision.knowledge.fixes import load_fixes
from tests.standin.finding_cases import SYSTEMS, TOPICS, build_facts, read_json

COMMENT = "# "
# What a command may begin with: programs, and what the shell itself knows.
PROGRAMS = {
    *("sudo", "export", "unset", "echo", "printf", "grep", "yay", "arch", "loginctl", "systemctl"),
    *("nvidia-smi", "rocminfo", "vulkaninfo", "llama-server", "fabric", "/usr/bin/vm_stat", "'/opt/my"),
}
# What stands for a name that a person has to fill in, which is for comments only.
GAPS = re.compile(r"…|[{}]|\b(?:NAME|DIR|UNIT|CONTAINER|BRANCH|DISTRIBUTION)\b")


def fixes_everywhere() -> set[tuple[str, str]]:
    """Return the code and the fix of every finding of every case, on every system."""
    cases = [case["facts"] for topic in TOPICS for case in read_json(topic)]
    facts = [build_facts({**case, "system": system}) for case in cases for system in SYSTEMS]
    facts += [build_facts(case) for case in cases]
    return {(finding.code, finding.fix) for each in facts for finding in find(each)}


EVERYWHERE = sorted(fixes_everywhere())


def commands(fix: str) -> list[str]:
    return [line for line in fix.split("\n") if not line.startswith(COMMENT)]


def test_a_line_is_a_comment_or_a_command_without_a_gap() -> None:
    for code, fix in EVERYWHERE:
        for command in commands(fix):
            assert command.split()[0] in PROGRAMS, (code, command)
            assert not GAPS.search(command), (code, command)


def test_the_shell_accepts_every_fix_as_it_stands() -> None:
    for code, fix in EVERYWHERE:
        done = subprocess.run(["/usr/bin/env", "bash", "-n"], input=fix, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), (code, fix)


def test_a_fix_that_is_pasted_whole_restarts_at_its_end_if_at_all() -> None:
    for code, fix in EVERYWHERE:
        assert not any("reboot" in command for command in commands(fix)[:-1]), (code, fix)


def test_no_entry_of_the_table_breaks_these_rules_either() -> None:
    """Those that no case reaches as well: other distributions, other containers."""
    for code, fixes in load_fixes().fixes.items():
        for fix in fixes:
            for command in commands(fix.do.strip().replace("{choices}", "# ")):
                assert command.split()[0] in {*PROGRAMS, "{program}"}, (code, command)
                assert "!" not in command, f"{code}: the shell's history would take it: {command}"
                assert ", then" not in command, (code, command)


def test_no_fix_asks_for_an_acceleration_that_fabric_would_refuse() -> None:
    assert [code for code, fixes in load_fixes().fixes.items() for fix in fixes if "--acceleration" in fix.do] == []
