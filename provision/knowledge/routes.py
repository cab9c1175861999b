"""Where models are served, and what a request may say there: ``profiles/routes.yaml``."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from provision.knowledge.load import load, refuse_twins


class Thinking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a backend is told to let a model think: fields of a request.

    ``enabled`` and ``disabled`` are ``None`` where it cannot be told so; ``level`` is the field that takes how much.
    """

    enabled: dict[str, Any] | None = None
    disabled: dict[str, Any] | None = None
    level: str | None = None


class Backend(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One backend: its variables, what counts where they are not set, and how its requests are written.

    ``api_key`` is no secret: clients send something where a server wants nothing. ``names`` is the column of the
    catalogue that its servers know models by. ``options`` maps Ollama's names of options to fields of a request.
    ``suffix``: a text completion there takes what comes after the gap.
    """

    name: str
    base_url_env: str
    base_url: str
    api_key_env: str
    api_key: str
    names: Literal["ollama", "huggingface", "none"]
    options: dict[str, str]
    also: tuple[str, ...] = ()
    think: Thinking = Thinking()
    keep_alive: str | None = None
    suffix: bool = False
    api: Literal["ollama"] | None = None


class Routes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. ``at_start`` are options of Ollama's that others take when they start, and from where."""

    version: int
    checked: str
    default: str
    at_start: dict[str, str | None]
    backends: tuple[Backend, ...]

    def __post_init__(self) -> None:
        """Refuse two backends of one name, a default that is none of them, and a column that no backend uses."""
        refuse_twins(name for row in self.backends for name in (row.name, *row.also))
        if self.default not in self.names:
            raise ValueError(f"the default {self.default} is no backend of this file")
        if not {"ollama", "huggingface"} <= {row.names for row in self.backends}:
            raise ValueError("no backend knows models by their names of Ollama, or of the hub")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all backends: each is also the prefix of the models that it serves."""
        return tuple(row.name for row in self.backends)

    def find(self, name: str) -> Backend | None:
        """Return the backend of this name, or for which it is another word; ``None`` where there is none."""
        return next((row for row in self.backends if name in (row.name, *row.also)), None)

    def known_by(self, column: Literal["ollama", "huggingface"]) -> Backend:
        """Return the backend whose servers know models by this column of the catalogue."""
        return next(row for row in self.backends if row.names == column)


def load_routes() -> Routes:
    """Return the table of backends."""
    routes: Routes = load("routes", Routes)
    return routes
