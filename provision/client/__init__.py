"""One client for every model server: it never learns which engine answers.

::

    async with OpenAICompatibleClient("http://127.0.0.1:8080/v1") as client:
        print(await client.chat("Say hello.", "smollm2-135m"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provision.client.answers import Completion, Delta, Embeddings, ServedModel, Timing, ToolCall, Usage
from provision.client.blocking import SyncClient
from provision.client.connection import Patience
from provision.client.errors import (
    AnswerError,
    AuthenticationError,
    BrokenStreamError,
    ClientError,
    ConnectError,
    NotFoundError,
    RateLimitError,
    StatusError,
    UnavailableError,
)
from provision.client.openai_compatible import OpenAICompatibleClient
from provision.client.port import AnswerStream, ChatClient, Messages, Options

if TYPE_CHECKING:
    from provision.client.availability import Availability, ensure_available, ensure_available_async
    from provision.client.routed import RoutedClient
    from provision.client.routing import Route, route

_ELSEWHERE = {
    "Availability": "availability",
    "Route": "routing",
    "RoutedClient": "routed",
    "ensure_available": "availability",
    "ensure_available_async": "availability",
    "route": "routing",
}

__all__ = [
    "AnswerError",
    "AnswerStream",
    "AuthenticationError",
    "Availability",
    "BrokenStreamError",
    "ChatClient",
    "ClientError",
    "Completion",
    "ConnectError",
    "Delta",
    "Embeddings",
    "Messages",
    "NotFoundError",
    "OpenAICompatibleClient",
    "Options",
    "Patience",
    "RateLimitError",
    "Route",
    "RoutedClient",
    "ServedModel",
    "StatusError",
    "SyncClient",
    "Timing",
    "ToolCall",
    "UnavailableError",
    "Usage",
    "ensure_available",
    "ensure_available_async",
    "route",
]


def __getattr__(name: str) -> Any:
    """Load what reads tables or starts programs only where it is wanted."""
    from importlib import import_module

    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ELSEWHERE[name]}"), name)
