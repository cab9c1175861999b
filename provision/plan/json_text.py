"""JSON as editors keep it, with comments and trailing commas: reading it, and changing single values in place. Pure.

No library that is kept well changes such a text and leaves its comments, so that this does: it finds where each value
stands, and replaces, inserts or removes just that.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

_SPACE = re.compile(r"(?:[ \t\r\n]|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_WORD = re.compile(r"[-+.\w]+")
MAX_DEPTH = 200


@dataclass
class Node:
    """A value of the text from ``start`` up to ``end``. ``parts`` are the members of a mapping or items of a list."""

    start: int
    end: int
    value: Any
    parts: list[Part] = field(default_factory=list)


@dataclass
class Part:
    """A member or an item: key or index, where it begins, its value, and where the comma after it stands."""

    key: str | int
    start: int
    node: Node
    comma: int | None = None


def read(text: str) -> Node:
    """Parse ``text``. Raises ``ValueError`` that tells line and column."""
    reader = _Reader(text)
    start = reader.skip(0)
    node = reader.value(start, 0)
    if reader.skip(node.end) != len(text):
        reader.fail(reader.skip(node.end), "there is more after the end")
    return node


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text

    def fail(self, at: int, why: str) -> NoReturn:
        """Raise the error that tells where."""
        line, column = self._text.count("\n", 0, at) + 1, at - self._text.rfind("\n", 0, at)
        raise ValueError(f"line {line}, column {column}: {why}")

    def skip(self, at: int) -> int:
        """Return where the next thing stands that is neither space nor comment."""
        found = _SPACE.match(self._text, at)
        return found.end() if found else at

    def value(self, at: int, depth: int) -> Node:
        """Read the value at ``at``."""
        if depth > MAX_DEPTH:
            self.fail(at, "too deep")
        opening = self._text[at : at + 1]
        if opening in ("{", "["):
            return self._container(at, depth)
        found = (_STRING if opening == '"' else _WORD).match(self._text, at)
        if not found:
            self.fail(at, "a value is missing")
        try:
            return Node(at, found.end(), json.loads(found.group(), parse_constant=self._no_constant))
        except ValueError:
            self.fail(at, f"{found.group()[:20]} is no value")

    def _no_constant(self, word: str) -> NoReturn:
        raise ValueError(word)

    def _container(self, at: int, depth: int) -> Node:
        is_mapping = self._text[at] == "{"
        closing = "}" if is_mapping else "]"
        node = Node(at, at, {} if is_mapping else [])
        here = self.skip(at + 1)
        while self._text[here : here + 1] != closing:
            if node.parts and node.parts[-1].comma is None:
                self.fail(here, f"a comma or {closing} is missing")
            part = self._member(here, node, depth) if is_mapping else self._item(here, node, depth)
            node.parts.append(part)
            here = self.skip(part.node.end)
            if self._text[here : here + 1] == ",":
                part.comma = here
                here = self.skip(here + 1)
        node.end = here + 1
        return node

    def _member(self, at: int, node: Node, depth: int) -> Part:
        if self._text[at : at + 1] != '"':
            self.fail(at, "a key is missing")
        key = self.value(at, depth)
        if key.value in node.value:
            self.fail(at, f"{key.value!r} is given twice")
        colon = self.skip(key.end)
        if self._text[colon : colon + 1] != ":":
            self.fail(colon, "a colon is missing")
        value = self.value(self.skip(colon + 1), depth + 1)
        node.value[key.value] = value.value
        return Part(key.value, at, value)

    def _item(self, at: int, node: Node, depth: int) -> Part:
        value = self.value(at, depth + 1)
        node.value.append(value.value)
        return Part(len(node.parts), at, value)


def is_empty(text: str) -> bool:
    """Tell whether there is nothing but space and comments."""
    return _Reader(text).skip(0) == len(text)


def comments(text: str) -> list[str]:
    """Return the comments of a text that can be read."""
    found = re.findall(r'"(?:[^"\\]|\\.)*"|(//[^\n]*|/\*.*?\*/)', text, re.DOTALL)
    return [comment.strip() for comment in found if comment]


def set_value(text: str, path: tuple[str | int, ...], value: Any) -> str:
    """Return ``text`` with one value replaced, or added at the end of its mapping or list.

    Raises ``KeyError`` where the holder of the value is not there, ``ValueError`` where ``text`` cannot be read.
    """
    node = read(text)
    for depth, step in enumerate(path):
        part = _part(node, step)
        if part is None and depth == len(path) - 1:
            return _added(text, node, step, value)
        if part is None:
            raise KeyError(step)
        node = part.node
    return text[: node.start] + _dumped(value, text, _indent_at(text, node.start)) + text[node.end :]


def remove(text: str, path: tuple[str | int, ...]) -> str:
    """Return ``text`` without one member or item; comments beside it stay.

    Raises ``KeyError`` where it is not there, ``ValueError`` where ``text`` cannot be read.
    """
    node = read(text)
    for step in path[:-1]:
        part = _part(node, step)
        if part is None:
            raise KeyError(step)
        node = part.node
    gone = _part(node, path[-1])
    if gone is None:
        raise KeyError(path[-1])
    commas = [part.comma for part in node.parts[: node.parts.index(gone) + 1]]
    comma = commas[-1] if commas[-1] is not None else next(reversed(commas[:-1]), None)
    spans = [(gone.start, gone.node.end)]
    return _without(text, spans if comma is None else [*spans, (comma, comma + 1)])


def _part(node: Node, step: str | int) -> Part | None:
    return next((part for part in node.parts if part.key == step), None)


def _added(text: str, node: Node, step: str | int, value: Any) -> str:
    """Insert a member or an item behind the last one, as that stands there: on a line of its own, or not."""
    label = f"{json.dumps(step, ensure_ascii=False)}: " if isinstance(node.value, dict) else ""
    if not node.parts:
        return _first_added(text, node, label, value)
    last = node.parts[-1]
    indent = _indent_at(text, last.start)
    if not _begins_line(text, last.start):
        at = last.node.end if last.comma is None else last.comma + 1
        between = ", " if last.comma is None else " "
        return text[:at] + between + label + _dumped(value, text, indent) + text[at:]
    trailing = "" if last.comma is None else ","
    if last.comma is None:
        text = text[: last.node.end] + "," + text[last.node.end :]
    at = _end_of_remarks(text, (last.node.end if last.comma is None else last.comma) + 1)
    return f"{text[:at]}{_newline(text)}{indent}{label}{_dumped(value, text, indent)}{trailing}{text[at:]}"


def _first_added(text: str, node: Node, label: str, value: Any) -> str:
    outer = _indent_at(text, node.start)
    indent = outer + _unit(text)
    remarks = text[node.start + 1 : node.end - 1].rstrip(" \t\r\n")
    member = f"{_newline(text)}{indent}{label}{_dumped(value, text, indent)}{_newline(text)}{outer}"
    return text[: node.start + 1] + remarks + member + text[node.end - 1 :]


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _end_of_remarks(text: str, at: int) -> int:
    """Return where what stands on the same line about the value before it ends."""
    found = re.compile(r"(?:[ \t]*(?:/\*[^\n]*?\*/|//[^\r\n]*))*").match(text, at)
    return found.end() if found else at


def _dumped(value: Any, text: str, indent: str) -> str:
    return json.dumps(value, ensure_ascii=False, indent=_unit(text)).replace("\n", _newline(text) + indent)


def _unit(text: str) -> str:
    """Return by what ``text`` indents one level."""
    found = re.search(r"^[ \t]*[\[{][^\n]*\n([ \t]+)\S", text)
    return found.group(1) if found else "  "


def _indent_at(text: str, at: int) -> str:
    """Return by what the line of ``at`` is indented."""
    start = text.rfind("\n", 0, at) + 1
    found = re.compile(r"[ \t]*").match(text, start)
    return found.group() if found else ""


def _begins_line(text: str, at: int) -> bool:
    start = text.rfind("\n", 0, at) + 1
    return start > 0 and not text[start:at].strip(" \t")


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    """Cut spans out, and each line that is left empty by it."""
    for start, end in sorted(spans, reverse=True):
        left, right = len(text[:start].rstrip(" \t")), end + len(text[end:]) - len(text[end:].lstrip(" \t"))
        newline = re.compile(r"\r?\n").match(text, right)
        if text[left - 1 : left] == "\n":  # nothing else before it on its line
            text = text[:left] + text[newline.end() :] if newline else text[:start] + text[right:]
        elif text[start:end] == ",":
            text = text[:start] + text[end:]
        else:
            closed = text[left - 1 : left] in ("{", "[") or text[right : right + 1] in ("}", "]")
            text = text[:left] + ("" if closed else " ") + text[right:]
    return text
