"""A streamed answer read to its end: bytes are stamped when they leave the socket, and parsed by others later."""

from __future__ import annotations

import time
from typing import Any

from provision.domain.frozen import frozen
from provision.host.endpoint import Arrival, EndpointClient

MAX_BYTES = 1 << 26
_SCHEDSTAT = "/proc/thread-self/schedstat"


@frozen
class Recording:
    """All of one exchange; ``status`` 0 means that nobody answered, ``error`` says why it broke off.

    ``cpu_ns`` is the processor time of the reading thread; ``wait_ns`` the time that it could have run and had
    no processor, ``None`` where the kernel does not tell.
    """

    status: int
    sent_ns: int
    ended_ns: int
    arrivals: tuple[Arrival, ...] = ()
    error: str | None = None
    cpu_ns: int = 0
    wait_ns: int | None = None

    @property
    def body(self) -> bytes:
        """Everything that was read."""
        return b"".join(arrival.data for arrival in self.arrivals)


def record(client: EndpointClient, path: str, document: Any, timeout_s: float) -> Recording:
    """POST ``document`` and read the whole answer; never raises for a server that is away or breaks off.

    ``timeout_s`` bounds every single wait and, checked whenever bytes arrive, the whole exchange; ``MAX_BYTES`` bounds
    what is kept.
    """
    import http.client

    status, arrivals, size_bytes, error = 0, [], 0, None
    sent_ns, cpu_ns, waited_ns = time.perf_counter_ns(), time.thread_time_ns(), _run_delay_ns()
    deadline_ns = sent_ns + int(timeout_s * 1e9)
    try:
        with client.stream(path, document, timeout_s) as stream:
            status, sent_ns = stream.status, stream.sent_ns
            for arrival in stream.arrivals():
                arrivals.append(arrival)
                size_bytes += len(arrival.data)
                if size_bytes > MAX_BYTES:
                    error = f"more than {MAX_BYTES >> 20} MiB"
                    break
                if arrival.at_ns > deadline_ns:
                    error = f"not finished after {timeout_s:g} s"
                    break
    except TimeoutError:
        error = f"silent for {timeout_s:g} s"
    except (OSError, http.client.HTTPException) as failure:
        error = f"{type(failure).__name__}: {failure}" if str(failure) else type(failure).__name__
    ended_ns, delay_ns = time.perf_counter_ns(), _run_delay_ns()
    wait_ns = delay_ns - waited_ns if delay_ns is not None and waited_ns is not None else None
    return Recording(status, sent_ns, ended_ns, tuple(arrivals), error, time.thread_time_ns() - cpu_ns, wait_ns)


def _run_delay_ns() -> int | None:
    """Return how long this thread has waited for a processor so far (second field of Linux' schedstat)."""
    try:
        with open(_SCHEDSTAT, "rb") as file:
            return int(file.read().split()[1])
    except (OSError, IndexError, ValueError):
        return None
