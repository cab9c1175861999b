"""What answers at an address: which engine, which models, whether it wants a key."""

from __future__ import annotations

from dataclasses import field

from provision.domain.frozen import frozen

OLLAMA = "ollama"
VLLM = "vllm"
LLAMACPP = "llamacpp"
LMSTUDIO = "lmstudio"
COMPATIBLE = "openai-compatible"
UNKNOWN = "unknown"
UNREACHABLE = "unreachable"


@frozen
class Fingerprint:
    """What was found out by asking. Everything in it is what the server says of itself, cut to a sane length.

    ``kind`` is ``ollama``, ``vllm``, ``llamacpp``, ``lmstudio``, ``openai-compatible`` for any other server of that
    API, ``unknown`` for one that speaks something else, ``unreachable`` where no answer came. ``models`` are the
    names that requests may use, ``contexts`` the tokens of context that some of them are served with. ``detail`` says
    in words what showed the kind, ``status`` is what the list of models was answered with in the end. ``loading`` says
    that it has still to load its model: what it lists now, if anything, need not be what it serves.
    """

    kind: str
    version: str | None = None
    models: tuple[str, ...] = ()
    needs_key: bool = False
    detail: str = ""
    contexts: dict[str, int] = field(default_factory=dict)
    status: int = 0
    loading: bool = False

    @property
    def speaks_openai(self) -> bool:
        """Whether chat requests can be sent there."""
        return self.kind not in (UNKNOWN, UNREACHABLE)


@frozen
class RunningServer:
    """A program that listens on one of the ports where model servers usually are.

    ``owner`` is like ``ollama (process 812)``, ``None`` where it cannot be seen; ``ours`` says that a fabric started
    it.
    """

    port: int
    kind: str
    version: str | None = None
    models: tuple[str, ...] = ()
    owner: str | None = None
    ours: bool = False
