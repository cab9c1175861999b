"""What every answer and type of this API has in common: attributes, keys, and the way from and to a document."""

from __future__ import annotations

import copy
from collections.abc import Container, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, get_origin, get_type_hints

import msgspec

from provision.domain.frozen import dataclass_transform, frozen

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass_transform(kw_only_default=True)
class Value:  # noqa: PLW1641 - they change
    """Fields with types, reached as attributes and as keys.

    A field that was not given has the default of its class, and is not ``in`` the value unless that default says
    something. What is given is converted (``{"role": "user"}`` to a ``Message``), and what has no field is left out, as
    servers gain fields. Raises ``ValueError`` for what does not fit, and for what has no default and is missing.
    """

    aliases: ClassVar[Mapping[str, str]] = {}
    """Names in a document for fields that Python, or somebody, calls otherwise."""

    keeps_all: ClassVar[bool] = False
    """Whether what has no field is kept, too."""

    def __init__(self, /, **given: Any) -> None:
        kind = type(self)
        rest = dict(given)
        for name, hint in self._fields().items():
            key = kind.aliases.get(name, name)
            key = key if key in given else name
            if key in given:
                self.__dict__[name] = _converted(rest.pop(key), hint)
            elif not hasattr(kind, name):
                raise ValueError(f"{kind.__qualname__} needs {key!r}.")
        if kind.keeps_all:
            self.__dict__.update(rest)

    @classmethod
    def model_validate(cls, document: Any) -> Self:
        """Return the value that a mapping describes, or the one that it is already."""
        if isinstance(document, cls):
            return document
        if isinstance(document, Mapping):
            return cls(**document)
        raise ValueError(f"{cls.__qualname__} is not made of {type(document).__name__}.")

    @classmethod
    def model_validate_json(cls, text: str | bytes) -> Self:
        """Return the value that a text of JSON describes."""
        return cls.model_validate(msgspec.json.decode(text))

    def model_dump(
        self,
        *,
        mode: str = "python",
        include: Container[str] | None = None,
        exclude: Container[str] | None = None,
        exclude_none: bool = False,
        exclude_unset: bool = False,
        exclude_defaults: bool = False,
    ) -> dict[str, Any]:
        """Return a dictionary of all fields, or of those alone that are named, say something, or were given.

        With the ``mode`` ``json`` it holds what JSON knows: times are texts.
        """
        kind = type(self)
        parts = _Document(exclude_none, exclude_unset, exclude_defaults)
        fields: dict[str, Any] = {}
        for name in self.__dict__ if exclude_unset else self._names():
            value = getattr(self, name)
            named = (include is None or name in include) and not (exclude and name in exclude)
            usual = exclude_defaults and hasattr(kind, name) and value == getattr(kind, name)
            if named and not usual and not (exclude_none and value is None):
                fields[name] = parts.dumped(value)
        return msgspec.to_builtins(fields, enc_hook=int) if mode == "json" else fields  # int: of a ByteSize

    def model_dump_json(self, *, indent: int | None = None, **chosen: Any) -> str:
        """Return that dictionary as JSON, in lines where ``indent`` says by how many blanks."""
        text = msgspec.json.encode(self.model_dump(mode="json", **chosen))
        return (text if indent is None else msgspec.json.format(text, indent=indent)).decode()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return the same once more, but for what ``update`` says, which is taken as it is."""
        copied = copy.deepcopy(self) if deep else copy.copy(self)
        copied.__dict__.update(update or {})
        return copied

    @property
    def model_fields_set(self) -> set[str]:
        """The names of the fields that were given."""
        return set(self.__dict__)

    @classmethod
    def _fields(cls) -> dict[str, Any]:
        known: Any = cls
        return _hints(known)

    def _names(self) -> dict[str, Any]:
        return {**self._fields(), **self.__dict__}

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
        return iter([(name, getattr(self, name)) for name in self._names()])

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and list(self) == list(other)

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in self)})"


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return {name: hint for name, hint in get_type_hints(kind).items() if get_origin(hint) is not ClassVar}


def _converted(value: Any, hint: Any) -> Any:
    return msgspec.convert(value, hint, strict=False, dec_hook=_built)


def _built(kind: Any, document: Any) -> Any:
    """Return a type of ours, which knows itself what it is made of; msgspec asks also where it is one already."""
    return kind.model_validate(document)


@frozen
class _Document:
    """How a value becomes a document, whatever it lies in."""

    exclude_none: bool
    exclude_unset: bool
    exclude_defaults: bool

    def dumped(self, value: Any) -> Any:
        """Return a part of a value without types of ours in it."""
        if hasattr(value, "model_dump"):
            return value.model_dump(**vars(self))
        if isinstance(value, Mapping):
            return {key: self.dumped(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.dumped(item) for item in value]
        return value
