"""Ollama's options in a request for chat completions, as each backend writes them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from provision.errors import UsageError, did_you_mean
from provision.knowledge.routes import Backend, load_routes

LIMIT = "num_predict"  # negative: as many tokens as there is room for


class UnsupportedOptionError(UsageError):
    """A backend takes no such option in a request. ``names`` are the options, ``backend`` is its name."""

    def __init__(self, names: Sequence[str], backend: str, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.names, self.backend = tuple(names), backend


def translate_options(backend: Backend, options: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    """Return the fields of a request for ``backend`` that mean what ``options`` mean to Ollama.

    What is ``None``, and a limit that is none, is absent. What the backend does not take is left out; where ``strict``,
    ``UnsupportedOptionError`` is raised instead.
    """
    given = {name: value for name, value in options.items() if value is not None}
    others = [name for name in given if name not in backend.options]
    if strict and others:
        raise unsupported(backend, others)
    limit = given.get(LIMIT)
    if isinstance(limit, (int, float)) and limit < 0:
        del given[LIMIT]
    return {backend.options[name]: value for name, value in given.items() if name in backend.options}


def switch_thinking(backend: Backend, think: bool | str | None, *, strict: bool) -> dict[str, Any]:
    """Return the fields of a request that let a model think (``True``), keep it from it (``False``), or say how much.

    ``None`` is no field at all. What cannot be said to ``backend`` is treated as in ``translate_options``.
    """
    if think is None:
        return {}
    if isinstance(think, str):
        fields = None if backend.think.level is None else {backend.think.level: think}
    else:
        fields = backend.think.enabled if think else backend.think.disabled
    if fields is None and strict:
        raise unsupported(backend, ["think"])
    return deepcopy(fields or {})


def unsupported(backend: Backend, names: Sequence[str]) -> UnsupportedOptionError:
    """Return the error for options that ``backend`` does not take."""
    message = f"{backend.name} does not take {', '.join(map(repr, names))} in a request."
    return UnsupportedOptionError(
        names,
        backend.name,
        message + "".join(map(_nearest, names)),
        f"It takes {', '.join(backend.options)}.{_at_start(names)}",
    )


def _nearest(name: str) -> str:
    """Return what may have been meant by a name that no backend knows."""
    routes = load_routes()
    known = {*routes.at_start, *(option for row in routes.backends for option in row.options), "think"}
    return "" if name in known else did_you_mean(name, sorted(known))


def _at_start(names: Sequence[str]) -> str:
    at_start = load_routes().at_start
    ways = [f"`fabric up {at_start[name]}` sets {name}" for name in names if at_start.get(name)]
    return f" When the server starts, {' and '.join(ways)}." if ways else ""
