"""What each template says of itself: the YAML between dashes in the comment at its head. Pure."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from provision.assets import parse_yaml
from provision.errors import InvalidInputError

_HEAD = re.compile(r"\A\{#---\n(.*?)\n---\n.*?#\}\n", re.DOTALL)


class Format(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One format of the client configuration.

    ``title`` is the tool, ``docs`` its documentation, ``syntax`` how the text is to be read and merged. ``path`` is
    where the tool looks for it, ``use`` what else is to be done, in one line. ``needs`` is the API that the server has
    to answer beside chat completions, as a path. ``keep`` are the keys at the top that stay as they are in a file that
    has them already.
    """

    title: str
    docs: str
    syntax: Literal["shell", "json", "yaml", "toml", "python"]
    path: str | None = None
    use: str | None = None
    needs: str | None = None
    keep: tuple[str, ...] = ()


def read_format(name: str, template: str) -> Format:
    """Return what the template called ``name`` says of itself. Raises ``InvalidInputError`` where it says nothing."""
    head = _HEAD.match(template)
    if head is None:
        raise InvalidInputError(f"templates/{name}.j2 does not begin with what it is for.", "See the other templates.")
    try:
        return msgspec.convert(parse_yaml(head.group(1)), Format)
    except (ValueError, msgspec.ValidationError) as error:
        raise InvalidInputError(f"The head of templates/{name}.j2 makes no sense: {error}.") from error
