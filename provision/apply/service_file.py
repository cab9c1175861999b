"""The file that a service manager of the user's reads: looked at, written, and taken away again.

It lies outside of the prefix, so what is ours of it is on record before it is touched; what is not ours is moved aside
and never overwritten.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from provision.apply.state import write_state
from provision.apply.user_file import staged
from provision.domain.drift import Drift, DriftKind
from provision.domain.resource import Kind
from provision.domain.spec import LAUNCHD, SYSTEMD, Spec
from provision.domain.state import ServiceUnit, State
from provision.errors import CannotCreateError, RefusedError, UsageError
from provision.facts.services import lingers
from provision.host.files import commit, explained, unused_name
from provision.host.layout import Layout
from provision.host.machine import LocalMachine
from provision.host.reading import read_bytes
from provision.plan.service_change import SeenUnit
from provision.plan.service_unit import Unit, enabling_link, unit_for
from provision.plan.text_diff import unified

MODE = 0o644  # systemd warns of one that others cannot read
ASIDE = ".not-fabrics"


def unit_of(spec: Spec, layout: Layout, env: Mapping[str, str]) -> Unit | None:
    """Return the file by which the service manager that is wished for keeps the server of this prefix running."""
    return unit_for(spec.service, layout.prefix, layout.supervisor_log, env)


def look(layout: Layout, env: Mapping[str, str], record: ServiceUnit | None, spec: Spec | None) -> SeenUnit:
    """Return what is there beside what ``spec`` wishes; ``None`` wishes for no service."""
    wanted = unit_of(spec, layout, env) if spec else None
    if wanted is None or spec is None:
        return SeenUnit(None, record, _text(Path(record.path)) if record else None)
    on_systemd = wanted.service == SYSTEMD
    return SeenUnit(
        wanted=wanted,
        record=record,
        text=_text(wanted.path),
        enabled=os.path.lexists(enabling_link(wanted.path)) if on_systemd else None,
        lingers=lingers(LocalMachine(env)) if on_systemd else None,
        lingering=spec.linger,
    )


def _text(path: Path) -> str | None:
    """What cannot be read, such as a directory, is there all the same."""
    try:
        data = read_bytes(path)
    except OSError as error:
        return f"unreadable: {error.strerror}"
    return None if data is None else data.decode(errors="replace")


def service_drift(
    layout: Layout, env: Mapping[str, str], record: ServiceUnit, spec: Spec, *, is_up: bool
) -> Iterator[Drift]:
    """Yield how the service differs from what its manager was told; an edit with its diff.

    ``spec`` is what is configured. ``is_up`` says whether the server runs: where it was stopped, its service is not
    enabled.
    """
    path, link = Path(record.path), enabling_link(Path(record.path))
    text = _text(path)
    if text is None:
        yield Drift(DriftKind.MISSING, Kind.SERVICE, record.name, f"{path} is gone", str(path))
    elif _sha256(text.encode()) != record.known[0]:
        told = unit_of(spec, layout, env)
        is_same = told is not None and _sha256(told.text.encode()) == record.known[0]
        diff = unified(told.text, text, path.name) if told and is_same else ""
        yield Drift(DriftKind.CONTENT, Kind.SERVICE, record.name, f"{path} was edited", str(path), diff)
    elif is_up and record.service == SYSTEMD and not os.path.lexists(link):
        detail = "it does not start by itself: somebody has disabled it"
        yield Drift(DriftKind.MISSING, Kind.SERVICE, record.name, detail, str(link))


def install(layout: Layout, state: State, unit: Unit) -> tuple[State, Path | None]:
    """Write ``unit``; return the state that owns it, and where that lies now which somebody else had written there.

    Raises ``RefusedError`` for what is no file, ``CannotCreateError`` where nothing can be written.
    """
    path, data = unit.path, unit.text.encode()
    seen = SeenUnit(unit, state.unit, _text(path))
    now = () if seen.text is None or seen.was_edited else (_sha256(seen.text.encode()),)
    old = seen.recorded or ServiceUnit(unit.service, unit.name, str(path), ())
    missing = tuple(str(parent) for parent in path.parents if not parent.exists())
    record = replace(old, known=(_sha256(data), *now), made_parents=tuple(dict.fromkeys((*missing, *old.made_parents))))
    _refuse_strange(path)
    state = write_state(layout, replace(state, unit=record))
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = _put_aside(path) if seen.was_edited else None
        commit(path, data, MODE, staged=staged(layout, path))
    return state, aside


def remove(layout: Layout, record: ServiceUnit) -> Path | None:
    """Take the file away, with the directories that were made for it; may be repeated.

    Return where that lies now which somebody else had written there.
    """
    path = Path(record.path)
    text, aside = _text(path), None
    with _explained(path):
        if text is not None and _sha256(text.encode()) not in record.known:
            aside = _put_aside(path)
        for made in (staged(layout, path), path, enabling_link(path)):
            with suppress(FileNotFoundError, NotADirectoryError):
                made.unlink()
    for directory in (str(enabling_link(path).parent), *record.made_parents):
        with suppress(OSError):  # somebody else's files are in it
            Path(directory).rmdir()
    return aside


def lost_record(layout: Layout, env: Mapping[str, str]) -> ServiceUnit | None:
    """Return the record of the service of this prefix where the state that had it cannot be read any more."""
    for service in (SYSTEMD, LAUNCHD):
        with suppress(UsageError):  # then there cannot have been one
            unit = unit_of(Spec(service=service), layout, env)
            if unit is not None and os.path.lexists(unit.path):
                return ServiceUnit(service, unit.name, str(unit.path), (_sha256(unit.text.encode()),))
    return None


def _refuse_strange(path: Path) -> None:
    """Only a file, or a link to one, can be moved aside."""
    with suppress(FileNotFoundError, NotADirectoryError):
        status = path.lstat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            raise RefusedError(f"{path} is no ordinary file.", "Move it away.")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """As ``explained``, for a file outside of the prefix."""
    try:
        with explained(f"writing {path}"):
            yield
    except CannotCreateError as error:
        error.hint = "See that it can be written there, or use --service builtin."
        raise


def _put_aside(path: Path) -> Path:
    aside = unused_name(path.with_name(path.name + ASIDE))
    path.rename(aside)
    return aside


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
