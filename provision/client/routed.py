"""One client for all backends: each request goes where the routing says that its model is served."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from provision.client.closing import AsyncClosing
from provision.client.connection import PATIENT, Patience
from provision.client.openai_compatible import OpenAICompatibleClient
from provision.client.routing import Route, default_route, route

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from provision.client.answers import Completion, Embeddings, ServedModel
    from provision.client.openai_compatible import Stream
    from provision.client.port import Messages, Options
    from provision.knowledge.models import Catalog


class RoutedClient(AsyncClosing):
    """See ``ChatClient``; ``model`` may carry a prefix, such as ``vllm/Qwen/Qwen3.5-4B``.

    ``env`` (else this process's) is read at every request, ``catalog`` is the table of the models' names. Each address
    gets one client with kept connections. ``models`` asks the default backend. Methods raise as ``routing.route`` does,
    besides ``ClientError``.
    """

    def __init__(
        self, *, env: Mapping[str, str] | None = None, catalog: Catalog | None = None, patience: Patience = PATIENT
    ) -> None:
        self._env = os.environ if env is None else env
        self._catalog = catalog
        self._patience = patience
        self._clients: dict[tuple[str, str], OpenAICompatibleClient] = {}

    def to(self, model: str) -> tuple[OpenAICompatibleClient, str]:
        """Return the client of the server that has ``model``, and what it is called there."""
        found = route(model, self._env, self._catalog)
        return self._client(found), found.model_id

    async def chat(self, messages: Messages, model: str, **options: Unpack[Options]) -> str:
        client, name = self.to(model)
        return await client.chat(messages, name, **options)

    async def complete(self, messages: Messages, model: str, **options: Unpack[Options]) -> Completion:
        client, name = self.to(model)
        return await client.complete(messages, name, **options)

    def stream(self, messages: Messages, model: str, **options: Unpack[Options]) -> Stream:
        client, name = self.to(model)
        return client.stream(messages, name, **options)

    async def embed(self, inputs: str | Sequence[str], model: str, *, dimensions: int | None = None) -> Embeddings:
        client, name = self.to(model)
        return await client.embed(inputs, name, dimensions=dimensions)

    async def models(self) -> list[ServedModel]:
        return await self._client(default_route(self._env, self._catalog)).models()

    async def aclose(self) -> None:
        clients, self._clients = list(self._clients.values()), {}
        await asyncio.gather(*(client.aclose() for client in clients))

    def _client(self, found: Route) -> OpenAICompatibleClient:
        key = (found.base_url, found.api_key)
        if key not in self._clients:
            self._clients[key] = OpenAICompatibleClient(
                found.base_url,
                found.api_key if found.has_key else None,
                default_key=found.api_key,
                patience=self._patience,
                env=self._env,
            )
        return self._clients[key]
