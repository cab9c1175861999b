"""Every way to serve on one machine, in order of preference, with the reason against each that cannot be. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from provision.domain.engine import EngineRelease
from provision.domain.facts import Facts
from provision.domain.frozen import frozen
from provision.domain.gpu import VENDOR_NAMES, Gpu, GpuMemory, GpuState
from provision.domain.spec import AUTO, Spec
from provision.domain.units import GIB
from provision.knowledge.builds import Build
from provision.knowledge.engine_files import EngineFile
from provision.knowledge.hardware import GpuRule, Hardware, HardwareProfile, HostRule
from provision.select.devices import why_unusable
from provision.select.knowledge import Knowledge
from provision.select.requirements import unmet
from provision.select.sources import Way

SERVER, ON_REQUEST, WITH_ENGINE = "server", "on-request", "with-engine"


@frozen
class Candidate:
    """One engine with one acceleration on the GPUs of one profile; ``reason`` is empty where it runs here.

    ``build`` is ``None`` where the engine has none of this kind. ``release`` is there where this version of fabric
    can install that build.
    """

    profile: HardwareProfile
    engine: str
    build: Build | None
    devices: tuple[Gpu, ...]
    reason: str
    release: EngineRelease | None = None

    @property
    def acceleration(self) -> str:
        """What computes: ``cpu``, ``cuda`` and so on."""
        return self.profile.acceleration


def candidates(spec: Spec, facts: Facts, knowledge: Knowledge, ways: Sequence[Way]) -> tuple[Candidate, ...]:
    """Return what ``spec`` allows, best first, with the first of the ``ways`` to each that runs here.

    Total and deterministic: the same facts give the same list, and every profile that is allowed is in it.
    """
    hardware = knowledge.hardware
    return tuple(
        _with_key(_candidate(profile, engine, facts, ways), spec, knowledge.engines)
        for profile in hardware.profiles
        if _allowed(profile, spec, hardware)
        for engine in _engines(profile, spec, hardware)
    )


def _allowed(profile: HardwareProfile, spec: Spec, hardware: Hardware) -> bool:
    if spec.acceleration not in (AUTO, profile.acceleration):
        return False
    if spec.require_gpu and profile.acceleration == "cpu":
        return False
    by_name = spec.profile == profile.name
    if spec.profile not in (AUTO, SERVER) and not by_name:
        return False
    if profile.use == SERVER:
        many = spec.parallel >= hardware.server_parallel or spec.profile == SERVER
        return many or by_name or spec.backend in profile.engines
    if profile.use == ON_REQUEST:
        return by_name or spec.acceleration == profile.acceleration
    if profile.use == WITH_ENGINE:
        return by_name or spec.backend in profile.engines
    return True


def _engines(profile: HardwareProfile, spec: Spec, hardware: Hardware) -> Iterable[str]:
    """A file of the user's is served by the engine that takes it as it lies."""
    engines = profile.engines
    if spec.model.startswith("file:"):
        engines = tuple(sorted(engines, key=[*hardware.file_engines, *engines].index))
    return [engine for engine in engines if spec.backend in (AUTO, engine)]


def _with_key(candidate: Candidate, spec: Spec, engines: Mapping[str, EngineFile]) -> Candidate:
    """Refuse an engine that would not keep anybody out where a key is wanted."""
    if spec.api_key_env is None or candidate.reason or not engines[candidate.engine].keyless:
        return candidate
    return replace(candidate, reason=f"{candidate.engine} knows no API key: it answers whoever reaches it")


def _candidate(profile: HardwareProfile, engine: str, facts: Facts, ways: Sequence[Way]) -> Candidate:
    reason = host_mismatch(profile.host, facts)
    devices: tuple[Gpu, ...] = ()
    if not reason and profile.gpu is not None:
        devices, reason = _matching_gpus(profile.gpu, facts)
    if reason:
        return Candidate(profile, engine, None, (), reason)
    way, devices, reason = _best_way(engine, profile.acceleration, ways, facts, devices)
    return (
        Candidate(profile, engine, way.build, devices, reason, way.release)
        if way
        else Candidate(profile, engine, None, devices, reason)
    )


def host_mismatch(rule: HostRule, facts: Facts) -> str:
    """Return what of the machine itself does not fit ``rule``; unknown facts do not count against it."""
    isa, missing = set(facts.cpu.isa), sorted(set(rule.isa) - set(facts.cpu.isa))
    memory = facts.memory.reachable_bytes
    checks = (
        (rule.systems and facts.os.system not in rule.systems, f"it is for {' and '.join(rule.systems)}"),
        (rule.archs and facts.os.arch not in rule.archs, f"it is for {' and '.join(rule.archs)}"),
        (rule.libc and facts.os.libc.name != rule.libc, f"it needs {rule.libc}"),
        (isa and missing, f"this processor lacks {', '.join(missing)}"),
        (
            rule.memory_gib and memory is not None and memory < rule.memory_gib * GIB,
            f"it needs {rule.memory_gib or 0:g} GiB of memory",
        ),
    )
    return next((reason for broken, reason in checks if broken), "")


def _matching_gpus(rule: GpuRule, facts: Facts) -> tuple[tuple[Gpu, ...], str]:
    """Return the GPUs that fit, or why the nearest one does not."""
    if not facts.gpus:
        return (), "no GPU was found"
    judged = [(gpu, gpu_mismatch(rule, gpu)) for gpu in facts.gpus]
    fitting = tuple(gpu for gpu, miss in judged if not miss)
    if fitting:
        return fitting, ""
    vendor = f"{VENDOR_NAMES[rule.vendor]} " if rule.vendor in VENDOR_NAMES else ""
    misses = (miss for _, miss in judged if miss != _OTHER_VENDOR)
    return (), next(misses, f"no {vendor}GPU was found")


def is_far(reason: str) -> bool:
    """Tell whether a rule is for another kind of machine altogether, which says little about this one."""
    return reason.startswith(_FAR)


_FAR = ("it is for ", "no ")  # as in: no NVIDIA GPU was found
_OTHER_VENDOR = "another vendor"


def gpu_mismatch(rule: GpuRule, gpu: Gpu) -> str:
    """Return the first thing in which ``gpu`` does not fit ``rule``, empty where it fits."""
    name = gpu.label
    told = why_unusable(gpu)
    memory, free = _most(gpu, lambda each: each.total_bytes), _most(gpu, lambda each: each.free_bytes)
    kind = "integrated" if gpu.integrated else "not known to be discrete"
    checks = (
        (rule.vendor not in (None, gpu.vendor), _OTHER_VENDOR),
        (gpu.masked, f"an environment variable hides {name}"),  # where that is not known, it does not count
        (
            rule.api and (gpu.state is not GpuState.USABLE or rule.api not in gpu.apis),
            f"{name} cannot be used through {rule.api}" + (f": {told}" if told else ""),
        ),
        (rule.arch and gpu.arch not in rule.arch, f"{name} is {gpu.arch or 'of an unknown kind'}"),
        (rule.l4t not in (None, gpu.l4t is not None), f"{name} is {'no' if rule.l4t else 'a'} Jetson"),
        (
            rule.unified not in (None, gpu.memory.kind == "unified"),
            f"the memory of {name} is {gpu.memory.kind}",
        ),
        (rule.integrated not in (None, gpu.integrated), f"{name} is {kind}"),
        (
            rule.memory_gib and memory is not None and memory < rule.memory_gib * GIB,
            f"{name} has {(memory or 0) / GIB:.1f} GiB of memory, less than {rule.memory_gib or 0:g}",
        ),
        (
            rule.free_gib and free is not None and free < rule.free_gib * GIB,
            f"{name} has {(free or 0) / GIB:.1f} GiB of memory free, others use the rest",
        ),
    )
    return next((reason for broken, reason in checks if broken), "")


def _most(gpu: Gpu, of: Callable[[GpuMemory], int | None]) -> int | None:
    """Return what one engine can have of a GPU's own memory: all, or that of the instance with most of it."""
    if gpu.memory.kind == "unified":
        return None
    if not gpu.instances:
        return of(gpu.memory)
    return max((of(instance.memory) or 0 for instance in gpu.instances), default=None)


def _best_way(
    engine: str, acceleration: str, ways: Sequence[Way], facts: Facts, devices: tuple[Gpu, ...]
) -> tuple[Way | None, tuple[Gpu, ...], str]:
    """Return the first way that runs on all devices, else the first that runs on some, else why none does."""
    kinds = [way for way in ways if (way.build.engine, way.build.acceleration) == (engine, acceleration)]
    runnable = [(way, running) for way in kinds if (running := _running(way.build, facts, devices)) is not None]
    if runnable:
        way, running = max(runnable, key=lambda pair: len(pair[1]))  # the first of those with most devices
        return way, running, ""
    reasons = [(way, unmet(way.build, facts, devices[0] if devices else None)) for way in kinds]
    nearest = [(way, reason) for way, reason in reasons if not reason.startswith("no build for")] or reasons
    if not nearest:
        return None, devices, f"it has no build for {acceleration}"
    return nearest[-1][0], devices, nearest[-1][1]  # the last: the builds that ask for least come last


def _running(build: Build, facts: Facts, devices: tuple[Gpu, ...]) -> tuple[Gpu, ...] | None:
    if not devices:
        return None if unmet(build, facts, None) else ()
    running = tuple(gpu for gpu in devices if not unmet(build, facts, gpu))
    return running or None
