"""YAML as somebody wrote it: its data, and the text with some values changed. Pure.

The library knows where each value stands, and so lines are added, replaced and cut out in the text itself. Written anew
by the library, lists get another layout and comments another place; that is left to what has no lines of its own.
"""

from __future__ import annotations

import json
import re
import sys
from textwrap import dedent
from typing import Any

from provision.plan.merge import ABSENT, Edit, put

_BLOCKS = ("|", ">")


def data(text: str) -> Any:
    """Return what a text holds, an alias as a copy of what it stands for. Raises ``ValueError``."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        yaml = YAML(typ="safe", pure=True)
        yaml.Constructor = _keeping_quotes()
        return _copied(yaml.load(text))
    except (YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error


def _keeping_quotes() -> type:
    """Return what makes values of a text, with the quotes of each: without them YAML 1.1 reads ``"no"`` as false."""
    from ruamel.yaml.constructor import SafeConstructor
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString, PlainScalarString, SingleQuotedScalarString

    kinds = {'"': DoubleQuotedScalarString, "'": SingleQuotedScalarString, None: PlainScalarString}

    class Constructor(SafeConstructor):
        def construct_yaml_str(self, node: Any) -> Any:
            return kinds.get(node.style, str)(self.construct_scalar(node))

    Constructor.add_constructor("tag:yaml.org,2002:str", Constructor.construct_yaml_str)
    return Constructor


def _copied(value: Any) -> Any:
    """Without it, changing a value through an alias would seem right: the value of the anchor changes alike."""
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value


def changed(text: str, edits: list[Edit]) -> str:
    """Return a text that can be read with some values changed.

    Raises ``LookupError`` or ``ValueError`` where an edit does not fit.
    """
    from ruamel.yaml.error import YAMLError

    try:
        for path, value in edits:
            in_place = _cut(text, path) if value is ABSENT else _set(text, path, value)
            text = _written_anew(text, path, value) if in_place is None else in_place
    except YAMLError as error:
        raise ValueError(str(error)) from error
    return text


def _cut(text: str, path: tuple[str | int, ...]) -> str | None:
    """Return the text without the lines of one value; ``None`` where it has no lines of its own, or is the only one."""
    holder = _holder(text, path)
    first, value = _child(holder, path[-1])
    last = _last_leaf(value)
    lines = text.splitlines(keepends=True)
    before = lines[first.start_mark.line][: first.start_mark.column].strip(" ")
    dash = "-" if isinstance(path[-1], int) else ""
    if holder.flow_style or len(holder.value) < 2 or before != dash or last is None:
        return None
    return "".join(lines[: first.start_mark.line] + lines[last.end_mark.line + 1 :])


def _set(text: str, path: tuple[str | int, ...], value: Any) -> str | None:
    """Return the text with one single value replaced, or with one more at the end of its mapping or list."""
    holder = _holder(text, path)
    if isinstance(path[-1], int) and path[-1] >= len(holder.value):
        return _appended(text, holder, [value])
    try:
        old = _child(holder, path[-1])[1]
    except LookupError:
        return _appended(text, holder, {path[-1]: value})
    if isinstance(old.value, list) or isinstance(value, (dict, list)) or old.style in _BLOCKS:
        return None
    return text[: old.start_mark.index] + _scalar(value) + text[old.end_mark.index :]


def _scalar(value: Any) -> str:
    """Return a single value as it is written, a word in the quotes that it came with."""
    from ruamel.yaml.scalarstring import PlainScalarString, SingleQuotedScalarString

    if isinstance(value, PlainScalarString) and not re.search(r"[,\[\]{}\n]", value):
        return str(value)
    if isinstance(value, SingleQuotedScalarString) and "\n" not in value:
        return "'" + str(value).replace("'", "''") + "'"
    return json.dumps(value, ensure_ascii=False)


def _appended(text: str, holder: Any, data: Any) -> str | None:
    """Add lines behind the last one of a mapping or list, in its column."""
    last = _last_leaf(holder)
    if holder.flow_style or not holder.value or last is None:
        return None
    lines = text.splitlines(keepends=True)
    first = holder.value[0][0] if isinstance(data, dict) else holder.value[0]
    before = lines[first.start_mark.line][: first.start_mark.column]
    column = len(before) if isinstance(data, dict) else before.rfind("-")
    if column < 0:
        return None
    newline = "\r\n" if "\r\n" in text else "\n"
    added = [f"{' ' * column}{line}{newline}" for line in dedent(_dumped(data, text)).splitlines()]
    place = last.end_mark.line + 1
    lines[place - 1] = lines[place - 1].rstrip("\r\n") + newline
    return "".join([*lines[:place], *added, *lines[place:]])


def _written_anew(text: str, path: tuple[str | int, ...], value: Any) -> str:
    yaml = _writer(text)
    tree = yaml.load(text)
    holder = tree
    for step in path[:-1]:
        holder = holder[step]
    put(holder, path[-1], value)
    start = "---\n" if text.startswith("---") else ""
    return (start + _dumped(tree, text)).replace("\n", "\r\n" if "\r\n" in text else "\n")


def _dumped(data: Any, text: str) -> str:
    """Return YAML in the style of ``text``."""
    from io import StringIO

    stream = StringIO()
    _writer(text).dump(data, stream)
    return stream.getvalue()


def _writer(text: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.util import load_yaml_guess_indent

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = sys.maxsize
    _, sequence, offset = load_yaml_guess_indent(text, yaml=yaml)
    steps = [len(found) for found in re.findall(r"^( +)[^ #\n-]", text, re.MULTILINE)]
    yaml.indent(mapping=min(steps, default=2), sequence=sequence or 2, offset=offset or 0)
    return yaml


def _holder(text: str, path: tuple[str | int, ...]) -> Any:
    """Return the node that holds the value at ``path``, with the marks of where it stands."""
    from ruamel.yaml import YAML

    holder = YAML(typ="safe", pure=True).compose(text)
    for step in path[:-1]:
        holder = _child(holder, step)[1]
    return holder


def _child(holder: Any, step: str | int) -> tuple[Any, Any]:
    """Return where a member begins, and its value."""
    if isinstance(step, int):
        return holder.value[step], holder.value[step]
    return {key.value: (key, value) for key, value in holder.value}[step]


def _last_leaf(node: Any) -> Any:
    """Return what ends a node, ``None`` for a block of text, of which nobody says where it ends."""
    while isinstance(node.value, list) and node.value and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return None if getattr(node, "style", None) in _BLOCKS else node
