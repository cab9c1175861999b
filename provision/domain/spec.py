"""What the user wants. Everything left out is ``auto``."""

from __future__ import annotations

from dataclasses import dataclass, fields

AUTO = "auto"

BACKENDS = ("auto", "ollama", "llamacpp", "vllm", "external")
ACCELERATIONS = ("auto", "cpu", "cuda", "rocm", "vulkan", "metal")
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Spec:
    """One wish for one server. The keys of ``fabric.yaml`` and the options of ``up`` and ``plan``.

    ``context`` is in tokens for each of the ``parallel`` requests; ``None`` lets fabric choose.
    ``port`` ``None`` prefers the usual port and takes a free one when it is busy; ``0`` takes any free one.
    Both keep the port from then on. ``threads`` ``None`` chooses by measurement.
    ``api_key_env`` names the environment variable that holds the key; the key itself is never written here.
    """

    version: int = 1
    backend: str = AUTO
    acceleration: str = AUTO
    model: str = AUTO
    profile: str = AUTO
    context: int | None = None
    parallel: int = 1
    threads: int | None = None
    host: str = "127.0.0.1"
    port: int | None = None
    api_key_env: str | None = None
    require_gpu: bool = False

    def options(self) -> list[str]:
        """Return the command line options that say the same, the defaults left out."""
        said = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                name = "--" + field.name.replace("_", "-")
                said += [name] if value is True else [name, str(value)]
        return said
