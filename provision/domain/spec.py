"""What the user wants. Everything left out is ``auto``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field, fields, replace
from typing import Literal, get_args

from provision.domain.frozen import frozen

EngineName = Literal["ollama", "llamacpp", "vllm"]
AUTO, EXTERNAL = "auto", "external"

ENGINE_NAMES: tuple[str, ...] = get_args(EngineName)
BACKENDS = (AUTO, *ENGINE_NAMES, EXTERNAL)
KV_CACHE_TYPES = ("auto", "f16", "q8_0", "q4_0")
SOURCES = ("existing", "archive", "wheel", "packages", "build")
ACCELERATIONS = ("auto", "cpu", "cuda", "rocm", "vulkan", "metal")
BUILTIN, SYSTEMD, LAUNCHD = SERVICES = ("builtin", "systemd", "launchd")
SERVING = (  # how it runs, whatever is installed
    *("threads", "host", "port", "api_key_env", "base_url", "keep_alive"),
    *("service", "linger"),
)


@frozen
class Install:
    """How an engine is brought here: ``sources`` are the ways that may be tried, in order; empty for the usual ones.

    ``program`` is one that is there already. ``mirrors`` maps the names of places (``github``, ``github_api``,
    ``huggingface``, ``ollama_registry``), or other addresses, to addresses that stand in for them.
    """

    sources: tuple[str, ...] = ()
    program: str | None = None
    mirrors: dict[str, str] = field(default_factory=dict)


@frozen
class Spec:
    """One wish for one server. The keys of ``fabric.yaml`` and the options of ``up`` and ``plan``.

    ``context`` is in tokens for each of the ``parallel`` requests; ``None`` lets fabric choose.
    ``port`` ``None`` prefers the usual port and takes a free one when it is busy; ``0`` takes any free one.
    Both keep the port from then on. ``threads`` ``None`` chooses by measurement.
    ``api_key_env`` names the environment variable that holds the key; the key itself is never written here.
    ``base_url`` is where a server of somebody else's answers, for the backend ``external``. ``kv_cache`` is the type
    of the elements of the KV cache; ``keep_alive`` the seconds that an idle model stays loaded, negative for ever.
    ``service`` is who keeps the server running; ``linger`` lets systemd do so also while the user is not logged in.
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
    base_url: str | None = None
    kv_cache: str = AUTO
    keep_alive: int | None = None
    service: str = BUILTIN
    linger: bool = False
    install: Install = Install()

    def asked(self, names: Iterable[str]) -> list[str]:
        """Return those of the wishes with these names that are not left open, in words."""
        usual = Spec()
        return [name.replace("_", " ") for name in names if getattr(self, name) != getattr(usual, name)]

    @property
    def deciding(self) -> Spec:
        """The part that decides what is installed: not how it is served, nor from which mirror it comes."""
        return Spec().with_deciding_part_of(self)

    def with_deciding_part_of(self, other: Spec) -> Spec:
        """Return this wish with the part of another one that decides what is installed."""
        served = {name: getattr(self, name) for name in SERVING}
        return replace(other, **served, install=replace(other.install, mirrors=self.install.mirrors))

    def options(self) -> list[str]:
        """Return the command line options that say the same, the defaults left out."""
        said = []
        for each in fields(self):
            value = getattr(self, each.name)
            if value == each.default:
                continue
            if isinstance(value, Install):
                said += [word for pair in _install_options(value) for word in pair]
            else:
                name = "--" + each.name.replace("_", "-")
                said += [name] if value is True else [name, str(value)]
        return said


def _install_options(install: Install) -> Iterator[tuple[str, str]]:
    for source in install.sources:
        yield "--source", source
    if install.program:
        yield "--program", install.program
    for name, address in sorted(install.mirrors.items()):
        yield "--mirror", f"{name}={address}"
