"""``@frozen`` makes of a class what ``@dataclass(frozen=True)`` makes of it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
from typing import Any

import pytest

from provision.domain.frozen import frozen


def declared(decorate: Any) -> Any:
    """Return a class with fields of every kind, and one that inherits from it."""

    @decorate
    class Value:
        name: str
        secret: str = field(default="", repr=False)
        seen: int = field(default=0, compare=False)
        more: tuple[int, ...] = ()

    @decorate
    class Special(Value):
        odd: bool = True

        def __repr__(self) -> str:
            return "special"

    return Value, Special


OURS, THEIRS = declared(frozen), declared(dataclass(frozen=True))


@pytest.mark.parametrize(("ours", "theirs"), list(zip(OURS, THEIRS, strict=True)))
def test_it_is_shown_compared_and_hashed_alike(ours: Any, theirs: Any) -> None:
    for made in (ours, theirs):
        one = made("a", "s", 1, (2,))
        assert one == made("a", "s", 9, (2,)) != made("a", "t", 1, (2,))
        assert len({one, made("a", "s", 9, (2,)), made("b")}) == 2
        assert replace(one, name="b") == made("b", "s", 1, (2,))
        assert one.__eq__("a") is NotImplemented
    assert repr(ours("a", "s")) == repr(theirs("a", "s"))
    assert hash(ours("a", "s", 1)) == hash(theirs("a", "s", 1))
    assert asdict(ours("a")) == asdict(theirs("a"))
    assert [each.name for each in fields(ours)] == [each.name for each in fields(theirs)]
    assert ours.__match_args__ == theirs.__match_args__


def test_a_value_of_another_class_is_another_value() -> None:
    value, special = OURS
    assert value("a") != special("a")


def test_nothing_of_it_changes() -> None:
    value = OURS[0]("a")
    with pytest.raises(FrozenInstanceError):
        value.name = "b"
    with pytest.raises(FrozenInstanceError):
        del value.name


def test_what_cannot_be_hashed_in_it_is_told_when_it_is_hashed() -> None:
    value = OURS[0]("a", more=[1])
    with pytest.raises(TypeError, match="unhashable"):
        hash(value)
