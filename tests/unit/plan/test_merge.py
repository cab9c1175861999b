"""What is merged into somebody's configuration comes out of it again, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provision.plan.merge import ABSENT, IDENTITIES, difference, edited, merged, restored, same

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b", "http://127.0.0.1:8080/v1"])
KEYS = st.sampled_from([*IDENTITIES, "models", "env", "a", "b"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)
MAPPINGS = st.dictionaries(KEYS, VALUES, max_size=4)


@given(VALUES | st.just(ABSENT), VALUES)
def test_taking_back_what_was_merged_gives_what_was_there(before: Any, ours: Any) -> None:
    assert same(restored(merged(before, ours), ours, before), before)


@given(MAPPINGS, MAPPINGS)
@example({}, {"models": [{"name": "a"}, {"name": "a", "title": None}]})
def test_merging_twice_changes_nothing_more(before: Any, ours: Any) -> None:
    once = merged(before, ours)
    assert same(merged(once, ours), once)


@given(MAPPINGS, MAPPINGS)
def test_taking_back_twice_changes_nothing_more(before: Any, ours: Any) -> None:
    once = restored(merged(before, ours), ours, before)
    assert same(restored(once, ours, before), once)


@given(MAPPINGS, MAPPINGS, st.dictionaries(st.sampled_from(["mine", "my other"]), VALUES, min_size=1))
def test_what_somebody_adds_survives(before: Any, ours: Any, added: Any) -> None:
    now = {**merged(before, ours), **added}
    assert same(restored(now, ours, before), {**before, **added})


@given(MAPPINGS, MAPPINGS, MAPPINGS)
def test_what_somebody_changed_survives(before: Any, ours: Any, changed: Any) -> None:
    """A value that is none of ours any more is never touched; a mapping is looked into."""
    now = {**merged(before, ours), **changed}
    back = restored(now, ours, before)
    for key, value in changed.items():
        if not isinstance(value, (dict, list)) and not same(value, ours.get(key, ABSENT)):
            assert same(back[key], value)


@given(VALUES, VALUES)
def test_the_edits_make_the_one_of_the_other(old: Any, new: Any) -> None:
    assert same(edited(old, difference(old, new)), new)


@given(VALUES)
def test_there_are_no_edits_where_nothing_differs(value: Any) -> None:
    assert difference(value, value) == []


def test_an_item_with_the_same_name_is_replaced_and_comes_back() -> None:
    before = {"models": [{"name": "fabric", "model": "old"}, {"name": "mine"}]}
    ours = {"models": [{"name": "fabric", "model": "new"}, {"name": "second"}]}
    now = merged(before, ours)
    assert now == {"models": [{"name": "fabric", "model": "new"}, {"name": "mine"}, {"name": "second"}]}
    assert restored(now, ours, before) == before


def test_an_item_of_ours_that_somebody_edited_stays() -> None:
    ours = {"models": [{"name": "fabric", "model": "m"}]}
    now = {"models": [{"name": "fabric", "model": "m", "temperature": 0}]}
    assert restored(now, ours, {"models": []}) == now


def test_only_our_values_of_a_mapping_go() -> None:
    before = {"env": {"ANTHROPIC_MODEL": "theirs"}}
    ours = {"env": {"ANTHROPIC_MODEL": "ours", "ANTHROPIC_BASE_URL": "http://127.0.0.1:1", "ANTHROPIC_AUTH_TOKEN": ""}}
    now = merged(before, ours)
    now["env"]["ANTHROPIC_BASE_URL"] = "http://elsewhere"
    assert restored(now, ours, before) == {
        "env": {"ANTHROPIC_MODEL": "theirs", "ANTHROPIC_BASE_URL": "http://elsewhere"}
    }


@pytest.mark.parametrize(
    ("one", "other"), [(True, 1), (False, 0), (None, ABSENT), ({"a": 1}, {"a": True}), ([1], [True])]
)
def test_values_that_only_python_takes_for_the_same(one: Any, other: Any) -> None:
    assert not same(one, other)


def test_removing_from_a_list_leaves_the_others_where_they_are() -> None:
    old = [{"name": "a", "x": 1}, {"name": "b"}, {"name": "c"}]
    assert difference(old, [{"name": "a", "x": 2}, {"name": "c"}]) == [((0, "x"), 2), ((1,), ABSENT)]
