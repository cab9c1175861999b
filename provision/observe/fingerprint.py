"""Who answers at a base URL that somebody else serves."""

from __future__ import annotations

import time

from provision.domain.fingerprint import Fingerprint
from provision.facts.fingerprint import Ask, identify
from provision.host.endpoint import EndpointClient, Response

TIMEOUT_S = 4.0
BUDGET_S = 12.0
MAX_BYTES = 1 << 22  # hosted services list hundreds of models with a page of text for each


def fingerprint(client: EndpointClient, timeout_s: float = TIMEOUT_S, budget_s: float = BUDGET_S) -> Fingerprint:
    """Return what answers there; never raises for a server that is away, slow or hostile.

    Only GETs. ``timeout_s`` bounds each of them, ``budget_s`` all together. The client's key stays at home until the
    server has turned a request away without it.
    """
    deadline = time.monotonic() + budget_s

    def asking(*, with_key: bool) -> Ask:
        def ask(path: str) -> Response:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return Response(0, error=f"no answers within {budget_s:g} s")
            return client.get(path, min(timeout_s, left_s), with_key=with_key, max_bytes=MAX_BYTES)

        return ask

    return identify(asking(with_key=False), asking(with_key=True) if client.has_key else None)
