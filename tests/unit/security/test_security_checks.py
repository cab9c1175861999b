"""What ``fabric doctor`` says of fabric's own promises."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from provision.domain.security_check import Outcome
from provision.host.confinement import Confinement
from provision.host.layout import Layout
from provision.knowledge.advisories import advisories_of
from provision.security import dependencies, key_file, prefix, versions
from provision.security.checks import security_checks
from provision.security.processes import judge
from tests.standin.selections import select_for_small_machine

CODES = [
    "prefix-owner", "prefix-parents", "prefix-marker", "prefix-links", "key-file", "key-required",
    "listening-sockets", "foreign-origins", "foreign-names", "engine-version", "dependencies",
    "server-environment", "core-dumps", "no-new-privileges",
]  # fmt: skip


def outcomes(layout: Layout) -> dict[str, Outcome]:
    return {check.code: check.outcome for check in prefix.check(layout)}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "prefix")
    made.secrets.mkdir(parents=True, mode=0o700)
    for path in (made.prefix, made.secrets):
        path.chmod(0o700)
    made.marker.write_text("{}", encoding="utf-8")
    return made


def test_the_codes_are_documented_and_stay() -> None:
    told = (Path(__file__).parents[3] / "docs" / "security.md").read_text(encoding="utf-8")
    assert [check.code for check in security_checks(Layout(Path("/nowhere/at/all")), None)] == CODES
    assert [code for code in CODES if f"`{code}`" not in told] == []


def test_where_nothing_is_nothing_is_known(tmp_path: Path) -> None:
    found = {check.code: check.outcome for check in security_checks(Layout(tmp_path / "new"), None)}
    assert {code for code, outcome in found.items() if outcome is not Outcome.UNKNOWN} == {
        "prefix-parents", "key-file", "dependencies",
    }  # fmt: skip


def test_a_prefix_as_fabric_makes_it_is_fine(layout: Layout) -> None:
    assert set(outcomes(layout).values()) == {Outcome.OK}


def test_the_links_that_fabric_makes_and_a_killed_run_leaves_are_fine(layout: Layout) -> None:
    layout.current.symlink_to("gen/1")
    layout.prefix.joinpath(".current.tmp-4711").symlink_to("gen/2")
    assert set(outcomes(layout).values()) == {Outcome.OK}


def test_each_way_to_be_unsafe_has_its_code_and_a_fix(layout: Layout, tmp_path: Path) -> None:
    layout.prefix.chmod(0o777)
    (tmp_path / "elsewhere").mkdir()
    layout.models.symlink_to(tmp_path / "elsewhere")
    layout.marker.unlink()
    tmp_path.chmod(0o777)
    assert set(outcomes(layout).values()) == {Outcome.FAILED}
    assert all(check.fix for check in prefix.check(layout))


@pytest.mark.parametrize(
    ("directory", "file", "outcome"),
    [
        (0o700, 0o600, Outcome.OK),
        (0o700, None, Outcome.OK),
        (0o755, 0o600, Outcome.FAILED),
        (0o700, 0o644, Outcome.FAILED),
        (0o700, 0o640, Outcome.FAILED),
    ],
)
def test_who_may_read_the_key(layout: Layout, directory: int, file: int | None, outcome: Outcome) -> None:
    layout.secrets.chmod(directory)
    if file is not None:
        layout.api_key.write_text("sk-x", encoding="utf-8")
        layout.api_key.chmod(file)
    found = key_file.check(layout)
    assert found.outcome is outcome
    assert bool(found.fix) is (outcome is Outcome.FAILED)


def test_one_process_that_may_dump_its_memory_is_enough() -> None:
    fine, bad = Confinement(1, dumps_core=False, no_new_privileges=True), Confinement(2, True, False)
    assert {check.outcome for check in judge([fine])} == {Outcome.OK}
    found = list(judge([fine, bad]))
    assert {check.outcome for check in found} == {Outcome.FAILED}
    assert all("process 2 " in check.evidence for check in found)
    assert {check.outcome for check in judge([])} == {Outcome.UNKNOWN}


def test_packages_that_are_not_what_fabric_asks_for_are_told() -> None:
    assert dependencies.check().outcome is Outcome.OK
    asked = [
        "jinja2>=3",
        "jinja2>=999,<1000",
        "of-nobody-at-all>=1",
        "else>=1; python_version < '3'",
        "x; extra == 'x'",
    ]
    told = dependencies.judge(asked)
    assert told.outcome is Outcome.FAILED
    assert told.evidence == (
        f"there is jinja2 {version('jinja2')}, not <1000,>=999; of-nobody-at-all (missing), not >=1"
    )
    assert told.fix


def test_a_package_that_fabric_needs_to_look_is_missing_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "packaging.requirements", None)
    told = dependencies.check()
    assert (told.outcome, told.evidence) == (Outcome.FAILED, "packaging.requirements is missing")
    assert told.fix


def test_every_check_is_there_whatever_has_the_name_of_what_it_reads(layout: Layout) -> None:
    layout.run.mkdir()
    layout.runtime.symlink_to("/etc/hostname")
    layout.api_key.symlink_to("/etc/hostname")
    wanted = select_for_small_machine()
    with_key = replace(wanted, spec=replace(wanted.spec, api_key_env="MY_KEY"))
    for selection in (None, wanted, with_key):
        assert [check.code for check in security_checks(layout, selection)] == CODES


def test_a_prefix_that_may_not_be_read_is_told_and_not_an_end(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: object, **_named: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    for name in ("open", "scandir", "listdir"):
        monkeypatch.setattr(os, name, refused)
    found = {check.code: check for check in security_checks(layout, None)}
    assert found["prefix-owner"].outcome is Outcome.FAILED
    assert "cannot be read" in found["prefix-owner"].evidence


def test_an_advisory_that_does_not_count_is_named_all_the_same() -> None:
    chosen = select_for_small_machine()
    told = versions.check(chosen)
    beside = advisories_of(chosen.backend, chosen.release.version)
    assert told.outcome is Outcome.OK
    assert beside
    assert all(f"{each.id} needs {each.needs}" in told.evidence for each in beside)
