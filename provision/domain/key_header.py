"""An API key on its way to a server. Pure."""

from __future__ import annotations

from provision.errors import UsageError


def key_header(api_key: str | None) -> dict[str, str]:
    """Return the header that carries the key, none where there is none.

    Raises ``UsageError`` for a key that no header can carry.
    """
    if api_key and not (api_key.isascii() and api_key.isprintable()):
        raise UsageError("The API key holds characters that no header can carry.", "Set it anew, without them.")
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}
