"""A tool made of a Python function: its schema from type hints, its words from a docstring of Google's style."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns|Yields|Raises|Examples?|Notes?):\s*$", re.IGNORECASE)
_ARGUMENT = re.compile(r"^(\s*)\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_ARGUMENTS = ("args", "arguments", "parameters")
_REST = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def as_tool(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the document of a tool.

    A parameter without a hint takes text; one that has a default, or may be ``None``, is not required. Raises
    ``TypeError`` for a hint that no JSON schema tells.
    """
    summary, told = _described(inspect.getdoc(function) or "")
    parameters = _schema(function)
    for name, schema in parameters["properties"].items():
        schema["description"] = told.get(name, schema.get("description", ""))
    described = {"name": function.__name__, "description": summary, "parameters": parameters}
    return {"type": "function", "function": described}


def _schema(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the JSON schema of the parameters."""
    hints = get_type_hints(function)
    named_ones = [each for each in inspect.signature(function).parameters.values() if each.kind not in _REST]
    fields = [_field(each, _known(hints.get(each.name, str))) for each in named_ones]
    (top,), named = msgspec.json.schema_components(
        [msgspec.defstruct("Parameters", fields, kw_only=True)], schema_hook=_of_others
    )
    schema = named.pop(top["$ref"].rpartition("/")[2])
    definitions = {"$defs": named} if named else {}
    return {"type": "object", "required": schema["required"], "properties": schema["properties"], **definitions}


def _known(hint: Any) -> Any:
    """Return the hint that schemas know for the same: they have no word for ``object``."""
    return Any if hint is object else hint


def _field(parameter: inspect.Parameter, hint: Any) -> Any:
    bare = _without_none(hint)
    if parameter.default is not inspect.Parameter.empty or bare is not hint:
        return parameter.name, bare, msgspec.UNSET
    return parameter.name, bare


def _without_none(hint: Any) -> Any:
    if type(None) not in get_args(hint) or get_origin(hint) is tuple:
        return hint
    return Union[tuple(kind for kind in get_args(hint) if kind is not type(None))]  # noqa: UP007 - made of a list


def _of_others(kind: Any) -> dict[str, Any]:
    """Return the schema of a type that tells it itself, as those of pydantic do."""
    if not hasattr(kind, "model_json_schema"):
        raise TypeError(f"No JSON schema tells {kind!r}: give the tool as a dict, or its parameter another type.")
    told: dict[str, Any] = kind.model_json_schema()
    return told


def _described(text: str) -> tuple[str, dict[str, str]]:
    """Return what stands before the first section of a docstring, and what it says of each argument."""
    summary: list[str] = []
    arguments: list[str] = []
    lines, section = text.splitlines(), ""
    for line in lines:
        heading = _SECTION.match(line)
        if heading:
            section = heading[1].lower()
        elif not section:
            summary.append(line)
        elif section in _ARGUMENTS:
            arguments.append(line)
    return "\n".join(summary).strip(), _arguments(arguments)


def _arguments(lines: list[str]) -> dict[str, str]:
    told: dict[str, str] = {}
    margin, name = None, ""
    for line in lines:
        found = _ARGUMENT.match(line)
        if found and (margin is None or len(found[1]) <= margin):
            margin, name = len(found[1]), found[2]
            told[name] = found[3].strip()
        elif name and line.strip():
            told[name] = f"{told[name]} {line.strip()}".strip()
    return told
