"""How long work tells what it does. The command line implements it for terminals, pipes and JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Told to a person while they wait; never part of a result."""

    def say(self, text: str) -> None:
        """Tell one thing that happened or happens now."""

    def transfer(self, name: str, total_bytes: int) -> Callable[[int], None]:
        """Begin a transfer; the returned function is called with every number of bytes that arrived."""

    def steps(self, name: str) -> Callable[[int, int], None]:
        """Begin work in steps; the returned function is called with how many are done, and how many there are."""
