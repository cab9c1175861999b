"""JSON, YAML and TOML as somebody wrote them: the data in a text, and the text with some values changed. Pure.

Comments, order and quotes stay. Each syntax says three things; ``SYNTAXES`` is the list of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from provision.domain.frozen import frozen
from provision.plan import json_text, toml_text, yaml_text
from provision.plan.merge import ABSENT, Edit

_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')


@frozen
class Syntax:
    """How to read a text, to change values of it, and to find its comments.

    ``data`` gives ``None`` for a text in which there is nothing, and raises ``ValueError`` for what cannot be read;
    ``changed`` raises ``KeyError``, ``TypeError`` or ``ValueError`` where an edit does not fit.
    """

    data: Callable[[str], Any]
    changed: Callable[[str, list[Edit]], str]
    comments: Callable[[str], list[str]]


def _json_data(text: str) -> Any:
    return None if json_text.is_empty(text) else json_text.read(text).value


def _json_changed(text: str, edits: list[Edit]) -> str:
    for path, value in edits:
        text = json_text.remove(text, path) if value is ABSENT else json_text.set_value(text, path, value)
    return text


def _hash_comments(text: str) -> list[str]:
    """Return what looks like a comment of YAML, TOML or a shell outside of quotes; rather too much than too little."""
    found = (re.search(r"(?:^|\s)(#.*)", _QUOTED.sub('""', line)) for line in text.splitlines())
    return [comment.group(1).strip() for comment in found if comment]


SYNTAXES = {
    "json": Syntax(_json_data, _json_changed, json_text.comments),
    "yaml": Syntax(yaml_text.data, yaml_text.changed, _hash_comments),
    "toml": Syntax(toml_text.data, toml_text.changed, _hash_comments),
}
