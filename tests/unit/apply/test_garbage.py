from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provision.apply.garbage import IDLE_S, Garbage, Mark, Marked, freed_bytes
from provision.apply.generations import KNOWN_GENERATIONS, chosen_generation, with_next
from provision.apply.trash import discard, settle
from provision.domain.state import Generation, State, StoreEntry
from provision.errors import FabricError, UsageError
from provision.host.layout import Layout
from tests.standin.selections import select_for_small_machine

CHOSEN = select_for_small_machine()
NOW_S = 2_000_000_000.0


def key_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest() + ".gguf"


def generation(number: int, *needs: str, context: int = 512, was_ready: bool = True) -> Generation:
    return Generation(number, replace(CHOSEN, context=context), needs, was_ready=was_ready)


def put(layout: Layout, key: str, kind: str = "model", *, pulled: bool | None = False) -> StoreEntry:
    """Put something into the store."""
    path = (layout.models if kind == "model" else layout.engines) / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"12345")
    known_as = {"some": CHOSEN.model} if kind == "model" else {}
    relative = str(path.relative_to(layout.prefix))
    return StoreEntry(kind, key, key, relative, (), 5, known_as=known_as, pulled=pulled)


def state_of(*generations: Generation, entries: tuple[StoreEntry, ...] = ()) -> State:
    last = generations[-1]
    return State(
        "lineage",
        generation=last.number,
        selection=last.selection,
        entries={entry.key: entry for entry in entries},
        in_use=last.needs,
        generations=generations,
    )


def mark(
    layout: Layout, state: State, keep: int = 1, running: int | None = None, *, pulled_models: bool = False
) -> Marked:
    return Mark(layout, state, keep, running, pulled_models, NOW_S).marked()


@pytest.mark.parametrize(
    ("keep", "running", "kept"),
    [(1, None, (4,)), (3, None, (2, 3, 4)), (9, None, (1, 2, 3, 4)), (1, 2, (2, 4)), (2, 4, (3, 4))],
)
def test_the_newest_and_the_one_that_runs_are_kept(
    layout: Layout, keep: int, running: int | None, kept: tuple[int, ...]
) -> None:
    entries = tuple(put(layout, key_of(number)) for number in range(1, 5))
    state = state_of(*(generation(number, key_of(number)) for number in range(1, 5)), entries=entries)
    marked = mark(layout, state, keep, running)
    assert marked.kept == kept
    assert tuple(each.number for each in marked.state.generations) == kept
    gone = {key_of(number) for number in range(1, 5) if number not in kept}
    assert {each.name for each in marked.garbage} == gone
    assert marked.state.entries.keys() == {key_of(number) for number in kept}


def test_a_running_generation_that_nobody_knows_stops_everything(layout: Layout) -> None:
    with pytest.raises(FabricError, match="Nothing was removed"):
        mark(layout, state_of(generation(3)), running=1)


@pytest.mark.parametrize(("pulled", "stays"), [(True, True), (None, True), (False, False)])
def test_a_model_that_was_pulled_or_may_have_been_stays(layout: Layout, pulled: bool | None, stays: bool) -> None:
    state = state_of(generation(1), entries=(put(layout, key_of(1), pulled=pulled),))
    marked = mark(layout, state)
    assert marked.models == ((key_of(1),) if stays else ())
    assert [each.name for each in marked.garbage] == ([] if stays else [key_of(1)])
    all_of_them = mark(layout, state, pulled_models=True)
    assert ([each.name for each in all_of_them.garbage], all_of_them.models) == ([key_of(1)], ())


def test_another_form_of_a_model_goes_although_an_older_version_did_not_say_what_it_is(layout: Layout) -> None:
    converted = replace(put(layout, key_of(1), pulled=None), known_as={})
    assert len(mark(layout, state_of(generation(1), entries=(converted,))).garbage) == 1


def test_what_a_killed_run_left_goes_and_what_is_of_others_stays(layout: Layout) -> None:
    for name in ("0" * 64 + ".gguf", "mine.gguf", "0" * 63 + ".gguf", "0" * 64 + ".bak", "notes"):
        put(layout, name)
    put(layout, "llamacpp-0.2.1-0123456789ab", "engine")
    put(layout, "llamacpp-0.2.1-mine", "engine")
    marked = mark(layout, state_of(generation(1)))
    assert {each.name for each in marked.garbage} == {"0" * 64 + ".gguf", "llamacpp-0.2.1-0123456789ab"}
    others = {"mine.gguf", "0" * 63 + ".gguf", "0" * 64 + ".bak", "notes", "llamacpp-0.2.1-mine"}
    assert {path.name for path in marked.strangers} == others


@pytest.mark.parametrize(("age_s", "goes"), [(IDLE_S - 60, False), (IDLE_S + 60, True)])
def test_a_download_or_build_that_nobody_goes_on_with_goes(layout: Layout, age_s: float, goes: bool) -> None:
    for path in (layout.partial / "a.part", layout.builds / "llamacpp-1-abcdefabcdef"):
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (NOW_S - age_s,) * 2)
    found = [each.kind for each in mark(layout, state_of(generation(1))).garbage]
    assert found == (["build", "partial"] if goes else [])


def test_a_file_that_keeps_another_name_frees_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1" * 100)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    first, second = (Garbage("model", name, tmp_path / name, "") for name in "ab")
    assert (first.size_bytes, second.size_bytes) == (100, 100)
    assert freed_bytes([first]) == 0
    assert freed_bytes([first, second]) == 100


numbers = st.integers(1, 5)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    needs=st.lists(st.sets(numbers, max_size=3), min_size=1, max_size=6),
    stored=st.dictionaries(numbers, st.sampled_from([True, False, None])),
    keep=st.integers(1, 7),
    running=st.integers(0, 6),
)
def test_nothing_that_is_live_is_ever_marked(
    tmp_path_factory: pytest.TempPathFactory,
    needs: list[set[int]],
    stored: dict[int, bool | None],
    keep: int,
    running: int,
) -> None:
    layout = Layout(tmp_path_factory.mktemp("prefix"))
    entries = tuple(put(layout, key_of(number), pulled=pulled) for number, pulled in stored.items())
    history = [generation(number, *map(key_of, each)) for number, each in enumerate(needs, 1)]
    state = state_of(*history, entries=entries)
    runs = running if 1 <= running <= len(history) else None
    marked = mark(layout, state, keep, runs)
    live = {key for each in history if each.number in marked.kept for key in each.needs}
    gone = {each.name for each in marked.garbage}
    assert not gone & live
    assert gone | marked.state.entries.keys() == state.entries.keys()
    assert {state.generation, runs or state.generation, *(each.number for each in history[-keep:])} == {*marked.kept}
    left = discard(layout, [each.path for each in marked.garbage], marked.state, "gc")
    there = {path.name for path in layout.models.iterdir()} if layout.models.is_dir() else set()
    assert there == left.entries.keys()
    assert mark(layout, left, keep, runs).garbage == ()


def test_what_cannot_be_moved_is_put_back(layout: Layout) -> None:
    entry = put(layout, key_of(1))
    state = state_of(generation(1), entries=(entry,))
    outside = layout.prefix.parent / "outside"
    outside.touch()
    with pytest.raises(ValueError, match="outside"):
        discard(layout, [layout.prefix / entry.path, outside], replace(state, entries={}), "gc")
    assert (layout.prefix / entry.path).read_bytes() == b"12345"
    assert not list(layout.prefix.glob(".trash-*"))


def test_a_trash_of_a_state_that_was_never_written_is_put_back(layout: Layout) -> None:
    trash = layout.prefix / ".trash-5"
    (trash / "models").mkdir(parents=True)
    (trash / "models" / "one").write_bytes(b"1")
    settle(layout)
    assert (layout.models / "one").read_bytes() == b"1"
    assert not trash.exists()


def test_the_last_other_one_that_has_served_is_brought_back() -> None:
    history = (
        generation(1, context=1),
        generation(2, context=2),
        generation(3, context=3, was_ready=False),
        generation(4, context=4),
    )
    assert chosen_generation(state_of(*history), None).number == 2
    assert chosen_generation(state_of(*history[:3]), None).number == 2
    assert chosen_generation(state_of(*history), 3).number == 3
    same = (generation(1, context=4), generation(2, context=4))
    with pytest.raises(UsageError, match="no earlier generation"):
        chosen_generation(state_of(*same), None)
    with pytest.raises(UsageError, match="no generation 9"):
        chosen_generation(state_of(*history), 9)


def test_a_state_without_records_knows_the_current_generation() -> None:
    old = State("lineage", generation=7, selection=CHOSEN, in_use=("engine", "model", "7"))
    (known,) = old.history
    assert (known.number, known.needs, known.was_ready) == (7, ("engine", "model"), False)
    assert [each.number for each in with_next(old, generation(8))] == [7, 8]
    many = replace(old, generations=tuple(generation(number) for number in range(1, 40)))
    assert len(with_next(many, generation(40))) == KNOWN_GENERATIONS


def test_failures_and_what_came_back_after_them_push_nothing_out_that_has_served() -> None:
    state = state_of(*(generation(number, context=number) for number in range(1, 5)))
    for number in range(5, 45, 2):
        for made in (generation(number, context=999, was_ready=False), generation(number + 1, context=4)):
            state = state_of(*with_next(state, made))
    assert [each.number for each in state.history] == [1, 2, 3, *range(35, 45)]
    assert chosen_generation(state, None).number == 3


def test_a_failure_does_not_count_among_those_that_are_kept(layout: Layout) -> None:
    served = (generation(1, context=1), generation(2, context=2), generation(3, context=3))
    state = state_of(*served, generation(4, context=9, was_ready=False), generation(5, context=3))
    assert mark(layout, state, 3).kept == (1, 2, 3, 4, 5)
    assert mark(layout, state, 2).kept == (2, 4, 5)
    assert mark(layout, state, 1).kept == (5,)


def test_a_directory_that_only_looks_like_a_trash_is_left_alone(layout: Layout) -> None:
    (layout.prefix / ".trash-mine").mkdir()
    settle(layout)
    assert (layout.prefix / ".trash-mine").is_dir()
