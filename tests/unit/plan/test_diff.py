from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.domain.artifacts import PinnedFile
from provision.domain.drift import Drift, DriftKind
from provision.domain.engine import Method
from provision.domain.plan import Action, Kind, Plan
from provision.domain.selection import Selection
from provision.domain.server import ServerState
from provision.domain.spec import Spec
from provision.plan.diff import digest, make_plan, summary
from provision.plan.observed import Observed, nothing_there
from provision.plan.text_diff import unified

CASES = json.loads((Path(__file__).parents[2] / "cases" / "plan" / "diff.json").read_text(encoding="utf-8"))


def observed_with(settled: Observed, changes: dict[str, Any]) -> Observed:
    values = dict(changes)
    if "generation" in values:
        assert settled.state is not None
        values["state"] = replace(settled.state, generation=values.pop("generation"), selection=None)
    if "lacking" in values:
        values["lacking"] = {Kind(kind): why for kind, why in values["lacking"].items()}
    if "drift" in values:
        kind, resource, detail = values["drift"]
        values["drift"] = (Drift(DriftKind(kind), Kind(resource), "name", detail),)
    if "server" in values:
        values["server"] = ServerState(values["server"])
    return replace(settled, **values)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_what_is_planned(selection: Selection, settled: Observed, case: dict[str, Any]) -> None:
    plan = make_plan(selection, observed_with(settled, case["observed"]))
    assert {change.kind.value: change.action.value for change in plan.changes} == case["changes"]
    assert plan.changed is (set(case["changes"].values()) != {"none"})
    if "reason" in case:
        kind, told = case["reason"]
        assert told in next(change.reason for change in plan.changes if change.kind.value == kind)


@pytest.mark.parametrize("kind", [Kind.ENGINE, Kind.MODEL])
@pytest.mark.parametrize("unread", [True, False])
def test_what_was_only_touched_may_not_have_to_be_fetched(
    selection: Selection, settled: Observed, kind: Kind, unread: bool
) -> None:
    drift = Drift(DriftKind.CONTENT, kind, "name", "it differs", unread=unread)
    plan = make_plan(selection, replace(settled, drift=(drift,)))
    (change,) = [each for each in plan.changes if each.kind is kind]
    assert ("download_bytes" in change.unknown) is change.unread is unread
    assert change.action is Action.REPLACE
    both = (drift, Drift(DriftKind.MISSING, kind, "name", "it is gone"))
    (change,) = [each for each in make_plan(selection, replace(settled, drift=both)).changes if each.kind is kind]
    assert "download_bytes" not in change.unknown


def changed(selection: Selection, settled: Observed, **changes: Any) -> Plan:
    desired = {**settled.desired_files, "parameters.json": "other"}
    return make_plan(replace(selection, **changes), replace(settled, desired_files=desired))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"context": 512}, "context 4096 → 512"),
        ({"parallel": 2}, "parallel 1 → 2"),
        ({"port": 9000}, "port 8080 → 9000"),
        ({"threads": 1}, "threads 2 → 1"),
        ({"host": "::1"}, "host 127.0.0.1 → ::1"),
        ({"spec": Spec(api_key_env="KEY")}, "API key none → KEY"),
        ({"context": 512, "port": 9000}, "context 4096 → 512, port 8080 → 9000"),
    ],
)
def test_a_changed_option_is_an_update_and_a_restart_and_is_named(
    selection: Selection, settled: Observed, changes: dict[str, Any], reason: str
) -> None:
    plan = changed(selection, settled, **changes)
    assert [(change.kind, change.action) for change in plan.changes] == [
        (Kind.ENGINE, Action.NONE),
        (Kind.MODEL, Action.NONE),
        (Kind.CONFIG, Action.UPDATE),
        (Kind.SERVER, Action.RESTART),
    ]
    assert plan.changes[2].reason == reason


def test_a_program_of_others_that_changed_is_asked_anew_and_configured_anew(
    selection: Selection, settled: Observed
) -> None:
    release = replace(selection.release, method=Method.EXISTING, path="/usr/bin/llama-server")
    swapped = Drift(DriftKind.PROGRAM, Kind.ENGINE, "llamacpp", "llama-server was changed")
    plan = make_plan(replace(selection, release=release), replace(settled, drift=(swapped,)))
    assert [change.action.value for change in plan.changes] == ["replace", "none", "update", "restart"]
    assert plan.changes[0].unknown == ("version",)
    plan = make_plan(selection, replace(settled, drift=(swapped,)))
    assert [change.action.value for change in plan.changes] == ["replace", "none", "none", "restart"]


def test_what_is_to_be_fetched_is_told_in_bytes(selection: Selection, settled: Observed) -> None:
    engine, model, *rest = make_plan(selection, nothing_there()).changes
    assert selection.release.wheel is not None
    assert engine.download_bytes == selection.release.wheel.size_bytes
    assert engine.disk_bytes == selection.release.installed_bytes
    assert (model.download_bytes, model.disk_bytes) == (92_863_409, 98_362_432)
    assert all(change.download_bytes == change.disk_bytes == 0 for change in rest)
    assert [change.memory_bytes for change in rest] == [0, selection.fit.need_bytes]
    assert all(change.download_bytes == 0 for change in make_plan(selection, settled).changes)


def test_a_provided_library_is_counted(selection: Selection) -> None:
    nothing = nothing_there()
    bare = replace(selection, provided_libraries=("libgomp.so.1",))
    more = make_plan(bare, nothing).changes[0].download_bytes - make_plan(selection, nothing).changes[0].download_bytes
    assert more == selection.release.libraries[0].source.download_bytes


def test_another_release_of_the_engine_is_told(selection: Selection, settled: Observed) -> None:
    newer = replace(selection, release=replace(selection.release, version="2027.1.1"))
    engine = make_plan(newer, replace(settled, lacking={Kind.ENGINE: "not installed"})).changes[0]
    assert engine.action is Action.REPLACE
    assert engine.reason == f"{selection.release.version} → 2027.1.1"


def test_the_summary_counts_every_action(selection: Selection, settled: Observed) -> None:
    assert summary(make_plan(selection, settled)) == {
        "create": 0, "update": 0, "replace": 0, "delete": 0, "restart": 0, "none": 4,
    }  # fmt: skip
    assert summary(changed(selection, settled, context=512))["restart"] == 1


def test_the_digest_is_of_what_is_decided_and_of_nothing_that_passes(selection: Selection, settled: Observed) -> None:
    plan = make_plan(selection, settled)
    assert plan.digest == digest(plan)
    assert plan.digest == make_plan(replace(selection, why=("other words",)), settled).digest
    assert plan.digest == make_plan(replace(selection, fit=replace(selection.fit, budget_bytes=1)), settled).digest
    for other in ({"context": 512}, {"port": 1}, {"threads": 9}, {"parallel": 2}, {"host": "::1"}):
        assert plan.digest != make_plan(replace(selection, **other), settled).digest
    assert settled.state is not None
    assert plan.digest != make_plan(selection, replace(settled, state=replace(settled.state, serial=9))).digest
    assert (plan.lineage, plan.serial) == ("lineage", 4)


def test_what_is_rendered_anew_is_shown_as_a_diff(selection: Selection, settled: Observed) -> None:
    edited = {"server.json": "one\ntwo\n", "parameters.json": "p"}
    wanted = {"server.json": "one\n2\n", "parameters.json": "p"}
    drift = Drift(DriftKind.CONTENT, Kind.CONFIG, "llamacpp", "server.json was changed", diff="-2\n+two\n")
    plan = make_plan(selection, replace(settled, files=edited, desired_files=wanted, drift=(drift,)))
    config = plan.changes[2]
    assert config.diff == "--- a/server.json\n+++ b/server.json\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n"
    assert config.reason == "server.json was changed; a copy of it is kept"
    assert plan.drift == (drift,)


def test_a_change_names_what_it_may_touch_and_what_stays_names_nothing(selection: Selection, settled: Observed) -> None:
    places = {Kind.CONFIG: ("gen/4", "current"), Kind.ENGINE: ("engines/x",)}
    plan = changed(selection, replace(settled, places=places), context=512)
    assert [change.paths for change in plan.changes] == [(), (), ("gen/4", "current"), ()]
    assert plan.digest != changed(selection, settled, context=512).digest


def test_what_only_carrying_it_out_can_tell_is_named(selection: Selection) -> None:
    file = PinnedFile("llama.tar.gz", ("https://example.org/llama.tar.gz",))
    release = replace(selection.release, wheel=None, files=(file,))
    assert make_plan(replace(selection, release=release), nothing_there()).changes[0].unknown == (
        "sha256",
        "download_bytes",
    )


def test_the_digest_binds_what_was_found_to_differ(selection: Selection, settled: Observed) -> None:
    added = Drift(DriftKind.EXTRA, Kind.ENGINE, "llamacpp", "mine was added", "/p/engines/x/mine")
    assert make_plan(selection, settled).digest != make_plan(selection, replace(settled, drift=(added,))).digest


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("a\n", "b\n", "-a\n+b\n"),
        ("a", "a\n", "-a\n\\ No newline at end of file\n+a\n"),
        ("", "a\n", "+a\n"),
        ("a\x0cb\u2028c\n", "a\x0cb\u2028d\n", "-a\x0cb\u2028c\n+a\x0cb\u2028d\n"),
    ],
)
def test_a_diff_has_the_lines_that_a_file_has(before: str, after: str, told: str) -> None:
    assert unified(before, after, "f").partition("@@\n")[2] == told
