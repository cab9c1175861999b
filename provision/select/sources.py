"""Every way to get a build: the releases that this version can install first, in the order of trying. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

from msgspec import structs

from provision.domain.engine import EngineRelease, Method
from provision.domain.facts import Facts
from provision.domain.frozen import frozen
from provision.domain.lock import LockedPlatform
from provision.domain.spec import EngineName, Spec
from provision.knowledge.builds import Acceleration, Build
from provision.knowledge.engine_files import EngineFile
from provision.select.knowledge import Knowledge

# Compiling takes a quarter of an hour, so it is done where it is asked for.
DEFAULT_METHODS = tuple(method for method in Method if method not in (Method.BUILD, Method.REMOTE))

LLAMA_SERVER = "llama-server"

# Instruction sets, as the kernel names them, unlike what virtual machines, power and security are about.
_COMPILED_FOR = re.compile(
    r"sse|ssse|pni$|avx|amx|fma|f16c$|bmi|abm$|popcnt$|movbe$|adx$|aes$|vaes$|pclmul|vpclmul|gfni$|sha"
    r"|asimd|fp$|fphp$|sve|sme|i8mm$|bf16$|crc32$|atomics$|dotprod$"
)

Tried = Mapping[str, str]


@frozen
class Way:
    """A build as it is judged, and the release that brings it; ``None`` where it is only known."""

    build: Build
    release: EngineRelease | None = None


def ways(knowledge: Knowledge, spec: Spec, facts: Facts, tried: Tried) -> tuple[Way, ...]:
    """Return all ways, best first within one engine and acceleration: what can be installed, then what is known.

    ``tried`` are releases and places, by name, that turned out not to work here, with the reason: they are left out.
    """
    methods = methods_of(spec)
    found = [
        (release, build)
        for name, file in knowledge.engines.items()
        for release, build in _releases(name, file, knowledge.builds, spec, facts)
        if release.method in methods and not tried.keys() & {release.name, release.place}
    ]
    found.sort(key=lambda pair: methods.index(pair[0].method))
    return (*(Way(build, release) for release, build in found), *map(Way, knowledge.builds))


def locked_ways(knowledge: Knowledge, locked: Sequence[LockedPlatform], tried: Tried) -> tuple[Way, ...]:
    """Return the releases of a lock as the only ways, each judged as the build that it is."""
    return tuple(way_of(each.release, knowledge.builds) for each in locked if each.release.name not in tried)


def way_of(release: EngineRelease, builds: Sequence[Build]) -> Way:
    """Return a release with what is known of its build; where nobody knows it any more, what it says of itself."""
    named = (
        build for build in builds if release.builds and (build.engine, build.name) == (release.engine, release.build)
    )
    build = next(named, None)
    own = structs.replace(build, systems=(release.system,), archs=(release.arch,)) if build else as_build(release)
    return Way(own, release)


def named_now(knowledge: Knowledge, release: EngineRelease) -> EngineRelease | None:
    """Return the release that the data files name today for the same build and machine; ``None`` where they do not."""
    for each in knowledge.engines[release.engine].releases:
        same = (each.method, each.system, each.arch) == (release.method, release.system, release.arch)
        if same and release.build in (each.builds or (each.build,)):
            if not each.builds:
                return each
            own = replace(each, build=release.build, acceleration=release.acceleration, formats=release.formats)
            return replace(own, isa=release.isa)
    return None


def methods_of(spec: Spec) -> tuple[Method, ...]:
    """Return the ways to install that the wish allows, in its order."""
    return tuple(Method(name) for name in spec.install.sources) or DEFAULT_METHODS


def _releases(
    name: str, file: EngineFile, builds: Sequence[Build], spec: Spec, facts: Facts
) -> Iterator[tuple[EngineRelease, Build]]:
    own = [build for build in builds if build.engine == name]
    for release in file.releases:
        if not release.builds:
            yield release, as_build(release)
        for build in own:
            if build.name in release.builds and release.arch in build.archs and release.system in build.systems:
                here = replace(release, build=build.name, acceleration=build.acceleration, formats=build.formats)
                here = replace(here, isa=compiled_for(facts)) if here.method is Method.BUILD else here
                yield here, structs.replace(build, systems=(release.system,), archs=(release.arch,))
    program = _program(name, file, spec, facts)
    if program is not None:
        yield from _existing(name, program, own, facts)


def compiled_for(facts: Facts) -> tuple[str, ...]:
    """Return what of this processor a compiler uses: what it makes runs on those that have all of it."""
    return tuple(sorted(name for name in set(facts.cpu.isa) if _COMPILED_FOR.match(name)))


def _program(name: str, file: EngineFile, spec: Spec, facts: Facts) -> str | None:
    """Return the engine that is there already: the one that the user names, else the one on PATH."""
    if spec.install.program and spec.backend == name:
        return spec.install.program
    return facts.tools.get(file.program) if file.program else None


def _existing(name: str, program: str, own: Sequence[Build], facts: Facts) -> Iterator[tuple[EngineRelease, Build]]:
    """Yield what a program that is there can do: what it lists itself, else what builds of its kind can.

    Whether it keeps that promise is seen when it is asked before it is used.
    """
    listed = _listed(facts) if facts.tools.get(LLAMA_SERVER) == program else None
    kinds = {build.acceleration: build for build in reversed(own) if not build.l4t}
    for acceleration, build in kinds.items():
        if listed is not None and acceleration not in listed:
            continue
        release = EngineRelease(
            engine=name,
            source=program,
            version=Method.EXISTING.value,
            build=f"{Method.EXISTING.value}-{acceleration}",
            system=facts.os.system or "",
            arch=facts.os.arch or "",
            installed_bytes=0,
            acceleration=acceleration,
            method=Method.EXISTING,
            formats=build.formats,
            path=program,
        )
        changes = {"name": release.build, "source": program, "systems": (release.system,), "archs": (release.arch,)}
        yield release, structs.replace(build, **changes, glibc=None, isa=(), disk_bytes=None)


def _listed(facts: Facts) -> set[str]:
    """Return what the ``llama-server`` on PATH says that it can compute with; the processor in any case."""
    return {"cpu", *(device.api for device in facts.listed_devices or () if device.api)}


def as_build(release: EngineRelease) -> Build:
    """Return what a release that names no build says of itself."""
    return Build(
        engine=cast("EngineName", release.engine),
        name=release.build,
        acceleration=cast("Acceleration", release.acceleration),
        systems=(release.system,),
        archs=(release.arch,),
        formats=release.formats,
        source=f"{release.source} {release.version}",
        glibc=release.glibc,
        isa=release.isa,
        partial=release.acceleration != "cpu",
    )
