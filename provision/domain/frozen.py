"""Values: frozen dataclasses that are cheap to define, of which one command defines more than a hundred."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:  # noqa: D103 - only for who checks types
        return lambda decorator: decorator


__all__ = ["dataclass_transform", "frozen"]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Make ``cls`` what ``@dataclass(frozen=True)`` makes of it, in half the time.

    ``dataclass`` writes and compiles each method anew for each class. All that it writes here is the constructor and
    what keeps a value frozen; the rest is the same for every class and looks at the fields when it is called.
    """
    made = dataclass(frozen=True, repr=False, eq=False)(cls)
    for name, method in _SHARED.items():
        if name not in vars(cls):
            setattr(made, name, method)
    return made


def _repr(self: Any) -> str:
    shown = (f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _eq(self: Any, other: object) -> bool:
    return _compared(self) == _compared(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _compared(value: Any) -> tuple[Any, ...]:
    return tuple(getattr(value, each.name) for each in fields(value) if each.compare)


_SHARED = {"__repr__": _repr, "__eq__": _eq, "__hash__": _hash}
