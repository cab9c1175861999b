"""The choice for one machine: everything that the plan is made from."""

from __future__ import annotations

from dataclasses import field, replace

from provision.domain.engine import EngineRelease, Method
from provision.domain.frozen import frozen
from provision.domain.model import Model
from provision.domain.reference import is_reference
from provision.domain.spec import Spec


@frozen
class Fit:
    """Whether the model fits into memory, in bytes.

    ``verdict`` is ``comfortable``, ``fits``, ``partial`` (the GPU takes ``layers_on_gpu`` of the ``layers``, main
    memory the rest), ``no`` or, where memory is not known, ``unknown``. ``budget_bytes`` is what may be taken of the
    memory that ``budget_kind`` names: ``cpu``, ``dedicated`` or ``unified``, ``total_bytes`` all of it that a server
    could ever use. ``workers`` is among how many GPUs each layer is divided. With ``partial`` and ``no``,
    ``suggested_context`` and ``suggested_quantization`` would each, alone, fit wholly; ``suggestion`` says so in
    words, without a full stop.
    """

    verdict: str
    need_bytes: int
    budget_bytes: int | None
    weights_bytes: int
    kv_cache_bytes: int
    context_length: int
    compute_bytes: int = 0
    layers: int | None = None
    layers_on_gpu: int | None = None
    budget_kind: str | None = None
    suggestion: str | None = None
    suggested_context: int | None = None
    suggested_quantization: str | None = None
    total_bytes: int | None = None
    workers: int = 1


@frozen
class Selection:
    """Which engine serves which model how, why, and why not the others.

    ``context`` is in tokens for each of ``parallel`` requests. ``devices`` are the GPUs that the model was fitted to,
    or the instance of one, by UUID, PCI address or name; none on the processor. ``locked`` says that a lock told
    release and model: they stay although the data files may know newer ones.
    """

    spec: Spec
    backend: str
    acceleration: str
    release: EngineRelease
    provided_libraries: tuple[str, ...]
    model: Model
    context: int
    parallel: int
    threads: int
    spin_count: int | None
    host: str
    port: int
    fit: Fit
    devices: tuple[str, ...] = ()
    why: tuple[str, ...] = ()
    why_not: dict[str, str] = field(default_factory=dict)
    locked: bool = False

    def is_served_like(self, other: Selection) -> bool:
        """Tell whether the same is served in the same way, whatever spoke for it."""
        return self == replace(other, fit=self.fit, why=self.why, why_not=self.why_not)

    @property
    def model_wish(self) -> str:
        """What leads to the model again: the reference as it was written, or the name of the catalogue."""
        return self.spec.model if is_reference(self.spec.model) else self.model.name

    @property
    def is_remote(self) -> bool:
        """Whether somebody else runs the server."""
        return self.release.method is Method.REMOTE

    @property
    def program(self) -> str:
        """What serves: of a server of somebody else's, what it turned out to be."""
        return self.release.source if self.is_remote else self.release.engine

    @property
    def engine_name(self) -> str:
        """What serves, with its version where that is known."""
        return f"{self.program} {self.release.version}".rstrip()

    @property
    def base_url(self) -> str:
        """What clients are given; an address that listens everywhere is reached through loopback."""
        if self.is_remote:
            return self.release.path or ""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104 - not a bind
        if ":" in host and not host.startswith("["):
            host = f"[{host}]"
        return f"http://{host}:{self.port}/v1"
