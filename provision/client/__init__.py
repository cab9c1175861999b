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
    from provision.client.routed import RoutedClient

__all__ = [
    "AnswerError",
    "AnswerStream",
    "AuthenticationError",
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
    "RoutedClient",
    "ServedModel",
    "StatusError",
    "SyncClient",
    "Timing",
    "ToolCall",
    "UnavailableError",
    "Usage",
]


def __getattr__(name: str) -> Any:
    """Load what reads the tables of models and backends only where it is wanted."""
    if name == "RoutedClient":
        from provision.client.routed import RoutedClient

        return RoutedClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
