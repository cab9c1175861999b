"""What a client of this API needs of whatever answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Protocol

from provision.inference.calls import Call


class Backend(Protocol):
    """One server. ``keeps_alive`` tells whether it can be told how long a model is to stay loaded.

    The methods raise ``ClientError``, ``UsageError`` for what it cannot be told, and ``ResponseError``.
    """

    @property
    def keeps_alive(self) -> bool: ...

    async def whole(self, call: Call[Any]) -> dict[str, Any]:
        """Return the document of the answer."""

    def pieces(self, call: Call[Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Return the documents of the answer one after another, from a generator that can be closed early."""

    async def aclose(self) -> None:
        """Close the connections that are kept."""
