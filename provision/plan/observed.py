"""What is there, as far as a plan needs to know it."""

from __future__ import annotations

from dataclasses import dataclass, field

from provision.domain.server import ServerState
from provision.domain.state import State
from provision.plan.service_change import SeenUnit


@dataclass(frozen=True)
class Observed:
    """``engine_damage`` and ``model_damage`` are empty where all is well, else they say what is not.

    ``arranged_damage`` says the same of what the engine was given of the model in its own directory.
    ``files`` are the texts of the current generation, ``desired_files`` what they should be; ``running`` is the
    generation that the server process was started from, ``unit`` what keeps it running.
    """

    state: State | None
    engine_damage: str
    model_damage: str
    server: ServerState
    files: dict[str, str | None] = field(default_factory=dict)
    desired_files: dict[str, str] = field(default_factory=dict)
    running: int | None = None
    arranged_damage: str = ""
    server_detail: str | None = None
    unit: SeenUnit = field(default_factory=SeenUnit)
