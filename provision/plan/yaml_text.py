"""YAML as somebody wrote it: its data, and the text with some values changed. Pure.

The library keeps comments when values are added or replaced. It takes a comment for part of what stands above it, and
loses it with that; so what is to be removed is cut out of the text, line by line.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from provision.plan.merge import ABSENT, Edit, put


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
    """Return a text that can be read with some values changed. Raises ``LookupError`` where an edit does not fit."""
    for path, value in edits:
        shorter = _cut(text, path) if value is ABSENT else None
        text = _put(text, path, value) if shorter is None else shorter
    return text


def _put(text: str, path: tuple[str | int, ...], value: Any) -> str:
    from io import StringIO

    from ruamel.yaml import YAML
    from ruamel.yaml.util import load_yaml_guess_indent

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = sys.maxsize
    yaml.explicit_start = text.startswith("---")
    tree, sequence, offset = load_yaml_guess_indent(text, yaml=yaml)
    steps = [len(found) for found in re.findall(r"^( +)[^ #\n-]", text, re.MULTILINE)]
    yaml.indent(mapping=min(steps, default=2), sequence=sequence or 2, offset=offset or 0)
    holder = tree
    for step in path[:-1]:
        holder = holder[step]
    put(holder, path[-1], value)
    stream = StringIO()
    yaml.dump(tree, stream)
    return stream.getvalue().replace("\n", "\r\n" if "\r\n" in text else "\n")


def _cut(text: str, path: tuple[str | int, ...]) -> str | None:
    """Return the text without the lines of one value; ``None`` where it has no lines of its own, or is the only one."""
    from ruamel.yaml import YAML

    holder = YAML(typ="safe", pure=True).compose(text)
    for step in path[:-1]:
        holder = _child(holder, step)[1]
    first, value = _child(holder, path[-1])
    lines = text.splitlines(keepends=True)
    before = lines[first.start_mark.line][: first.start_mark.column]
    if holder.flow_style or len(holder.value) < 2 or before.strip(" ") not in ("", "-"):
        return None
    if before.strip(" ") and isinstance(path[-1], str):
        return None  # the dash of a list stands before it
    return "".join(lines[: first.start_mark.line] + lines[_last_leaf(value).end_mark.line + 1 :])


def _child(holder: Any, step: str | int) -> tuple[Any, Any]:
    """Return where a member begins, and its value."""
    if isinstance(step, int):
        return holder.value[step], holder.value[step]
    return {key.value: (key, value) for key, value in holder.value}[step]


def _last_leaf(node: Any) -> Any:
    while isinstance(node.value, list) and node.value and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return node
