"""The server on the other side, as messages tell of it: without the secrets that requests carry. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from provision.domain.frozen import frozen
from provision.errors import UsageError
from provision.host.server_said import server_said, without

SECRET_CHARACTERS = 8  # what is shorter in a header, such as "1", keeps nothing secret, and would hide other words
_NEVER_IN_A_HEADER = "\r\n\0"


@frozen
class Peer:
    """``where`` is its address; ``secrets`` are hidden wherever it repeats them."""

    where: str
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, where: str, api_key: str | None, headers: Mapping[str, str]) -> Peer:
        """Return the server at ``where``; the key and what stands in ``headers`` are secrets.

        Raises ``UsageError`` for a header that cannot be sent.
        """
        for name, value in headers.items():
            if any(letter in name + value for letter in _NEVER_IN_A_HEADER):
                raise UsageError(f"The header {name!r} holds characters that no header can carry.", "Leave them out.")
        words = [word for value in headers.values() for word in (value, value.rpartition(" ")[2])]
        secrets = {word for word in words if len(word) >= SECRET_CHARACTERS} | ({api_key} if api_key else set())
        return cls(where, tuple(sorted(secrets, key=len, reverse=True)))

    def said(self, body: bytes) -> str:
        """Return the server's own message in one line."""
        return server_said(body, self.secrets)

    def hidden(self, text: str) -> str:
        """Return ``text`` without the secrets."""
        return without(self.secrets, text)
