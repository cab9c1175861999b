"""Where a call goes: to the one host that was named, or where the routing table sends its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from provision.client.connection import Connection, Patience
from provision.client.endpoints import value
from provision.client.openai_compatible import OpenAICompatibleClient
from provision.client.routing import Route, default_route, route
from provision.domain.endpoint import API, normalize
from provision.domain.frozen import frozen
from provision.domain.spec import EXTERNAL
from provision.errors import RefusedError, UsageError, did_you_mean
from provision.inference import host
from provision.inference.backend import Backend
from provision.inference.native import NativeBackend, speaks_it
from provision.inference.translated import TranslatedBackend
from provision.knowledge.routes import Backend as Row
from provision.knowledge.routes import load_routes


@frozen
class Settings:
    """What all calls of a client have in common. ``env`` holds addresses, keys, proxies and certificates."""

    env: Mapping[str, str]
    patience: Patience
    headers: Mapping[str, str]
    strict: bool


@frozen
class Address:
    """A server of a ``backend`` of the table: its ``base_url`` ends in ``/v1``.

    ``default_key`` is sent where there is no ``api_key``; ``may_be_native``: it may speak Ollama's API as well.
    """

    base_url: str
    backend: str
    api_key: str | None = field(repr=False)
    default_key: str | None
    may_be_native: bool


class Endpoints:
    """The servers that calls went to so far, each with its connections. Use it within one event loop."""

    def __init__(self, named: str | None, backend: str | None, settings: Settings) -> None:
        self._settings = settings
        self._named = _named(named, backend, settings.env) if named else None
        self._found: dict[Address, Backend] = {}

    async def of(self, model: str | None) -> tuple[Backend, str | None]:
        """Return what answers for a model, or for a question about none, and its name there. Raises ``FabricError``."""
        if self._named:
            return await self._backend(self._named), model
        env, variable = self._settings.env, load_routes().known_by("ollama").base_url_env
        complete = host.with_host(env, variable)
        try:
            found = route(model, complete) if model else default_route(complete)
        except (UsageError, RefusedError) as error:
            raise error if complete is env else host.by_its_name(error, variable) from None
        return await self._backend(_address(found)), found.model_id if model else None

    async def aclose(self) -> None:
        """Close all connections."""
        found, self._found = self._found, {}
        for backend in found.values():
            await backend.aclose()

    async def _backend(self, address: Address) -> Backend:
        """Return what answers there. Two calls at once may both ask: one of their answers is kept."""
        if address not in self._found:
            met = await self._meet(address)
            if self._found.setdefault(address, met) is not met:
                await met.aclose()
        return self._found[address]

    async def _meet(self, address: Address) -> Backend:
        """Find out what a server speaks, where more than one answer is possible."""
        settings = self._settings
        if address.may_be_native:
            root = address.base_url.removesuffix(f"/{API}")
            connection = Connection(
                root,
                address.api_key,
                settings.patience,
                settings.env,
                settings.headers,
                default_key=address.default_key,
            )
            try:
                native = await speaks_it(connection)
            except BaseException:
                await connection.aclose()
                raise
            if native:
                return NativeBackend(connection)
            await connection.aclose()
        client = OpenAICompatibleClient(
            address.base_url,
            address.api_key,
            default_key=address.default_key,
            patience=settings.patience,
            env=settings.env,
            headers=settings.headers,
        )
        return TranslatedBackend(client, _row(address.backend), strict=settings.strict)


def _named(named: str, backend: str | None, env: Mapping[str, str]) -> Address:
    """Return the server that the caller names. An address that ends in ``/v1`` says what it speaks."""
    row = _row(backend or EXTERNAL)
    keys = row if backend else load_routes().known_by("ollama")  # the key is where this API's own client looks for it
    key = value(env, keys.api_key_env) or None
    url = host.base_url(named)
    return Address(normalize(url, has_key=bool(key)), row.name, key, None, not url.endswith(f"/{API}"))


def _address(found: Route) -> Address:
    key, default_key = (found.api_key, None) if found.has_key else (None, found.api_key)
    return Address(found.base_url, found.backend, key, default_key, _row(found.backend).api is not None)


def _row(name: str) -> Row:
    """Return a row of the table. Raises ``UsageError`` where there is none of this name."""
    rows = load_routes()
    row = rows.find(name)
    if row is None:
        near = did_you_mean(name, rows.names)
        raise UsageError(f"There is no backend {name!r}.{near}", f"Known: {', '.join(rows.names)}.")
    return row
