"""How a release becomes a tree: one function for each method, all into a staging directory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from provision.apply.first_use import pinned_by_what_came
from provision.apply.progress import Progress
from provision.apply.store import engine_path
from provision.artifacts.fetch import Fetcher
from provision.artifacts.uv_program import Uv
from provision.domain.artifacts import PinnedFile, Wheel
from provision.domain.engine import EngineRelease, Method
from provision.domain.frozen import frozen
from provision.domain.safe_name import inside
from provision.errors import FabricError
from provision.host.files import make_private_dir, remove_tree
from provision.host.layout import Layout


@frozen
class Workshop:
    """What making a tree needs. ``env`` is the user's; ``stop`` ends every transfer and program.

    ``provided`` are the libraries that this system lacks; ``threads`` and ``memory_bytes`` are what a compiler may use.
    """

    layout: Layout
    fetcher: Fetcher
    uv: Uv
    env: Mapping[str, str]
    progress: Progress
    stop: threading.Event
    provided: tuple[str, ...]
    threads: int
    memory_bytes: int | None

    def make(self, release: EngineRelease, staged: Path) -> EngineRelease:
        """Make the tree of ``release`` at ``staged``, which does not exist yet.

        Return the release as it is known now: with the hash of every file that came.
        """
        files = _MAKERS[release.method](self, release, staged)
        return release if files is None else replace(release, files=files)


def _from_wheel(shop: Workshop, release: EngineRelease, staged: Path) -> None:
    if release.wheel is None:
        raise FabricError(f"{release.name} has no wheel.")
    shop.uv.make_environment(staged)
    _install_wheels(shop, release, (release.wheel,), staged)
    _provide_libraries(shop, release, staged)
    shop.uv.settle(staged)


def _from_packages(shop: Workshop, release: EngineRelease, staged: Path) -> None:
    shop.uv.make_environment(staged, release.python)
    _install_wheels(shop, release, release.wheels, staged)
    _provide_libraries(shop, release, staged)
    shop.progress.say(f"Compiling the byte code of {release.engine}, so that every start is quicker")
    shop.uv.compile(staged)
    shop.uv.settle(staged)


def _provide_libraries(shop: Workshop, release: EngineRelease, staged: Path) -> None:
    """Put what this system lacks where the engine alone finds it."""
    place = staged / "lib" / "provided"
    make_private_dir(place)
    for library in release.libraries:
        if library.name in shop.provided:
            shop.fetcher.member(library.source, inside(place, library.name), lambda _: None)


def _install_wheels(shop: Workshop, release: EngineRelease, wheels: tuple[Wheel, ...], staged: Path) -> None:
    """Fetch wheels beside the tree, install them from there, and let them go."""
    place = shop.layout.staging / "wheels"
    make_private_dir(place)
    total = sum(wheel.size_bytes for wheel in wheels)
    arrived = shop.progress.transfer(f"{release.engine} {release.version}", total)
    shop.fetcher.wheels(wheels, place, arrived)
    shop.uv.install(staged, wheels, place)
    remove_tree(place)


def _from_archive(shop: Workshop, release: EngineRelease, staged: Path) -> tuple[PinnedFile, ...]:
    """Unpack every archive over the one before: what they hold is meant to lie side by side. Return what came."""
    from provision.artifacts.unpack import unpack

    place = shop.layout.staging / "archives"
    make_private_dir(place)
    total = sum(file.size_bytes or 0 for file in release.files)
    arrived = shop.progress.transfer(f"{release.engine} {release.version}", total)
    sums = shop.fetcher.files(release.files, place, arrived)
    files = pinned_by_what_came(release.files, sums, shop.progress.say)
    shop.progress.say(f"Unpacking {release.engine} {release.version}")
    strip = release.assets.strip if release.assets else 0
    for number, file in enumerate(files):
        part = staged if number == 0 else shop.layout.staging / f"part-{number}"
        unpack(place / file.path, part, strip=strip, stop=shop.stop)
        if part != staged:
            _lay_over(part, staged)
    remove_tree(place)
    return files


def _lay_over(part: Path, tree: Path) -> None:
    """Move what is in ``part`` into ``tree``. What both have, ``tree`` keeps."""
    for path in sorted(part.iterdir()):
        target = tree / path.name
        if path.is_dir() and not path.is_symlink() and target.is_dir():
            _lay_over(path, target)
        elif not target.exists():
            path.rename(target)
    remove_tree(part)


def _from_source(shop: Workshop, release: EngineRelease, staged: Path) -> None:
    from provision.apply.native_build import build_server, fitting_jobs
    from provision.apply.toolchain import require_toolchain

    if release.sdist is None:
        raise FabricError(f"{release.name} has no source distribution.")
    require_toolchain(shop.env)
    work = build_path(shop.layout, release, shop.provided)
    _drop_builds(shop.layout, besides=work)
    arrived = shop.progress.transfer(release.sdist.filename, release.sdist.size_bytes)
    sdist = shop.fetcher.wheel(release.sdist, arrived)
    shop.progress.say("Compiling llama.cpp for this processor; that takes a quarter of an hour on two cores")
    make_private_dir(staged)
    build_server(
        sdist,
        work,
        staged,
        env=shop.env,
        log=shop.layout.logs / "build.log",
        progress=shop.progress.steps("compiling"),
        stop=shop.stop,
        jobs=fitting_jobs(shop.threads, shop.memory_bytes),
    )
    sdist.unlink()


def _drop_builds(layout: Layout, besides: Path) -> None:
    """Let go of what was compiled from other sources, or for another processor: it takes hundreds of megabytes."""
    for old in layout.builds.iterdir() if layout.builds.is_dir() else ():
        if old != besides:
            remove_tree(old)


def build_path(layout: Layout, release: EngineRelease, provided: tuple[str, ...]) -> Path:
    """Return where a release is compiled: by its sources and the processor that it is for."""
    return layout.builds / engine_path(layout, release, provided).name


def _from_program(_shop: Workshop, release: EngineRelease, staged: Path) -> None:
    """Point to the program that is there; what it says of itself is kept beside the link."""
    make_private_dir(staged)
    program = Path(release.path or "")
    (staged / program.name).symlink_to(program.absolute())


_MAKERS: Mapping[Method, Callable[[Workshop, EngineRelease, Path], tuple[PinnedFile, ...] | None]] = {
    Method.WHEEL: _from_wheel,
    Method.PACKAGES: _from_packages,
    Method.ARCHIVE: _from_archive,
    Method.BUILD: _from_source,
    Method.EXISTING: _from_program,
}
