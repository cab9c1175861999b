"""Which engine and acceleration suit which hardware: the rules of ``profiles/hardware.yaml``, first match wins."""

from __future__ import annotations

from typing import Literal

import msgspec

from provision.domain.spec import EngineName
from provision.knowledge.builds import Acceleration
from provision.knowledge.load import load, refuse_twins


class GpuRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a GPU has to be. What is left out does not matter.

    ``api`` is one that it can be used through now. ``memory_gib`` is the least memory of one GPU or instance, and
    ``free_gib`` what others have to leave of it; both are asked of dedicated memory only, as far as it is known.
    """

    vendor: str | None = None
    api: str | None = None
    arch: tuple[str, ...] = ()
    unified: bool | None = None
    integrated: bool | None = None
    l4t: bool | None = None
    memory_gib: float | None = None
    free_gib: float | None = None


class HostRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the rest of the machine has to be. ``memory_gib`` is the least main memory that a process may use."""

    systems: tuple[str, ...] = ()
    archs: tuple[str, ...] = ()
    libc: str | None = None
    isa: tuple[str, ...] = ()
    memory_gib: float | None = None


class HardwareProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule: on such hardware these engines, best first, with this acceleration.

    ``use`` is ``server`` for rules that count only where many are served at once, ``on-request`` for those that count
    only where this acceleration or this profile is asked for, ``with-engine`` where one of its engines is. ``advice``
    is what a person should do to get more. ``max_active_parameters`` bounds the model that is proposed by default:
    what is computed for each token.
    """

    name: str
    acceleration: Acceleration
    engines: tuple[EngineName, ...]
    why: str
    use: Literal["server", "on-request", "with-engine"] | None = None
    gpu: GpuRule | None = None
    host: HostRule = HostRule()
    advice: str | None = None
    max_active_parameters: float | None = None


class Hardware(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file.

    ``server_parallel`` is how many requests at once make a server of a machine. ``file_engines`` is the order of
    the engines where the model is a file of the user's; those that it leaves out come last.
    """

    version: int
    checked: str
    server_parallel: int
    file_engines: tuple[EngineName, ...]
    profiles: tuple[HardwareProfile, ...]

    def __post_init__(self) -> None:
        """Refuse two profiles of one name."""
        refuse_twins(profile.name for profile in self.profiles)


def load_hardware() -> Hardware:
    """Return the rules."""
    hardware: Hardware = load("hardware", Hardware)
    return hardware
