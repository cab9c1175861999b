"""What every answer and type of this API has in common: attributes, keys, and the way from and to a document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, get_type_hints

import msgspec

if TYPE_CHECKING:
    from typing_extensions import Self, dataclass_transform
else:  # a word to the type checker alone

    def dataclass_transform(**_: Any) -> Any:  # noqa: D103
        return lambda cls: cls


V = TypeVar("V", bound="Value")


@dataclass_transform(kw_only_default=True)
class Value:  # noqa: PLW1641 - they change
    """Fields with types, reached as attributes and as keys.

    A field that was not given has the default of its class, and is not ``in`` the value unless that default says
    something. What is given is converted (``{"role": "user"}`` to a ``Message``), and what has no field is left out, as
    servers gain fields. Raises ``ValueError`` for what does not fit, and for what has no default and is missing.
    """

    aliases: ClassVar[Mapping[str, str]] = {}
    """Names in a document for fields that Python, or somebody, calls otherwise."""

    def __init__(self, **given: Any) -> None:
        kind = type(self)
        for name, hint in self._fields().items():
            key = kind.aliases.get(name, name)
            if key in given:
                self.__dict__[name] = _converted(given[key], hint)
            elif not hasattr(kind, name):
                raise ValueError(f"{kind.__qualname__} needs {key!r}.")

    @classmethod
    def model_validate(cls, document: Any) -> Self:
        """Return the value that a mapping describes, or the one that it is already."""
        return document if isinstance(document, cls) else cls(**document)

    def model_dump(self, *, exclude_none: bool = False, exclude_unset: bool = False) -> dict[str, Any]:
        """Return a dictionary of all fields, or of those alone that say something, or that were given."""
        names = self.__dict__ if exclude_unset else self._fields()
        fields = {name: _dumped(getattr(self, name), exclude_none, exclude_unset) for name in names}
        return {name: value for name, value in fields.items() if value is not None or not exclude_none}

    def model_dump_json(self, *, exclude_none: bool = False, exclude_unset: bool = False) -> str:
        """Return that dictionary as JSON."""
        return msgspec.json.encode(self.model_dump(exclude_none=exclude_none, exclude_unset=exclude_unset)).decode()

    @classmethod
    def _fields(cls) -> dict[str, Any]:
        known: Any = cls
        return _hints(known)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a field, or ``default`` where there is none of this name."""
        return getattr(self, key, default)

    def __getitem__(self, key: str) -> Any:
        if key in self:
            return getattr(self, key)
        raise KeyError(key)

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, value)

    def __contains__(self, key: object) -> bool:
        return key in self.__dict__ or (key in self._fields() and getattr(type(self), str(key), None) is not None)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter([(name, getattr(self, name)) for name in self._fields()])

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and list(self) == list(other)

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in self)})"


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return {name: hint for name, hint in get_type_hints(kind).items() if name != "aliases"}


def _converted(value: Any, hint: Any) -> Any:
    return msgspec.convert(value, hint, strict=False, dec_hook=_built)


def _built(kind: type[V], document: Any) -> V:
    if isinstance(document, Mapping):
        return kind(**document)
    raise ValueError(f"{kind.__qualname__} is not made of {type(document).__name__}.")


def _dumped(value: Any, exclude_none: bool, exclude_unset: bool) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(exclude_none=exclude_none, exclude_unset=exclude_unset)
    if isinstance(value, Mapping):
        return {key: _dumped(item, exclude_none, exclude_unset) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_dumped(item, exclude_none, exclude_unset) for item in value]
    return value
