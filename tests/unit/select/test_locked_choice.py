"""A choice with a lock: only what it holds is installed, and only where it runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provision.domain.engine import EngineRelease, Method
from provision.domain.facts import Facts, Libc
from provision.domain.lock import LockedPlatform, Pins
from provision.domain.model import Model
from provision.domain.spec import Spec
from provision.errors import InvalidInputError
from provision.select.choose import Chooser
from provision.select.knowledge import Knowledge


@pytest.fixture
def older(release: EngineRelease, model: Model) -> LockedPlatform:
    """A release that the data files do not know, with a model of its own."""
    pinned = replace(release, version="2020.1.1", build="gone", method=Method.WHEEL)
    return LockedPlatform(pinned, replace(model, name="locked-model"))


@pytest.fixture
def chooser(facts: Facts, knowledge: Knowledge, older: LockedPlatform) -> Chooser:
    return Chooser(Spec(), facts, None, knowledge, 8080, locked=(older,))


def test_the_release_and_the_model_of_the_lock_are_chosen(chooser: Chooser, older: LockedPlatform) -> None:
    selection = chooser.choose().selection
    assert selection is not None
    assert (selection.release, selection.model) == (older.release, older.model)
    assert selection.locked


def test_without_a_lock_the_choice_is_another_and_not_said_to_be_locked(chooser: Chooser) -> None:
    selection = replace(chooser, locked=()).choose().selection
    assert selection is not None
    assert selection.release.version != "2020.1.1"
    assert not selection.locked


CANNOT = {
    "glibc": (lambda f: replace(f, os=replace(f.os, libc=Libc("glibc", "2.5"))), "glibc"),
    "musl": (lambda f: replace(f, os=replace(f.os, libc=Libc("musl"))), "glibc"),
    "processor": (lambda f: replace(f, cpu=replace(f.cpu, isa=("sse2",))), "lacks"),
    "memory": (lambda f: replace(f, memory=replace(f.memory, total_bytes=1 << 26, available_bytes=1 << 26)), "memory"),
}


@pytest.mark.parametrize(("change", "why"), CANNOT.values(), ids=CANNOT.keys())
def test_what_cannot_run_here_is_refused_with_the_reason(chooser: Chooser, facts: Facts, change, why: str) -> None:  # type: ignore[no-untyped-def]
    choice = replace(chooser, facts=change(facts)).choose()
    assert choice.selection is None
    assert choice.refusal is not None
    assert "fabric.lock holds for this kind of machine does not run here" in choice.refusal.message
    assert why in choice.refusal.message


def test_a_build_for_a_gpu_that_is_not_here_is_refused(chooser: Chooser, older: LockedPlatform) -> None:
    cuda = replace(older, release=replace(older.release, acceleration="cuda"))
    refusal = replace(chooser, locked=(cuda,)).choose().refusal
    assert refusal is not None
    assert "GPU" in refusal.message


def test_what_was_unfit_here_is_not_tried_again(chooser: Chooser, older: LockedPlatform) -> None:
    refusal = replace(chooser, tried={older.release.name: "it dies"}).choose().refusal
    assert refusal is not None
    assert "it dies" in refusal.message


def test_of_several_entries_the_first_that_runs_is_chosen(chooser: Chooser, older: LockedPlatform) -> None:
    cuda = LockedPlatform(replace(older.release, acceleration="cuda", build="cuda-gone"), older.model)
    selection = replace(chooser, locked=(cuda, older)).choose().selection
    assert selection is not None
    assert selection.release == older.release


def test_what_is_served_is_kept_only_where_it_is_the_locked_one(chooser: Chooser, older: LockedPlatform) -> None:
    served = chooser.choose().selection
    assert served is not None
    kept = replace(chooser, previous=replace(served, fit=replace(served.fit, need_bytes=7))).choose().selection
    assert kept is not None
    assert kept.fit.need_bytes == 7
    newer = replace(older, release=replace(older.release, version="2021.1.1"))
    moved = replace(chooser, previous=served, locked=(newer,)).choose().selection
    assert moved is not None
    assert moved.release == newer.release


def test_strict_pins_without_an_entry_for_this_machine_are_refused(older: LockedPlatform) -> None:
    pins = Pins({"linux-x86_64-cpu": older}, strict=True)
    assert pins.of("Linux", "x86_64") == (older,)
    with pytest.raises(InvalidInputError, match="no entry for Linux on riscv64; it has linux-x86_64-cpu"):
        pins.of("Linux", "riscv64")
    assert replace(pins, strict=False).of("Linux", "riscv64") == ()
