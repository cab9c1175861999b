"""What a client is told of a server: the same few values in every format."""

from __future__ import annotations

from provision.domain.frozen import frozen


@frozen
class ClientConfig:
    """What a client needs. ``base_url`` ends in ``/v1``; ``local_llm_start_cmd`` is one line for a shell.

    ``backend`` is what serves, as ``fabric up --backend`` calls it. ``context`` is how many tokens one request may
    take, question and answer together; ``None`` where nobody knows.
    """

    base_url: str
    model: str
    api_key: str | None
    local_llm_start_cmd: str
    local_llm_ensure_available: bool = True
    backend: str | None = None
    context: int | None = None

    @property
    def root_url(self) -> str:
        """What comes before the ``/v1``, for clients that add it themselves."""
        return self.base_url.rstrip("/").removesuffix("/v1")
