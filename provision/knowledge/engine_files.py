"""The releases of one engine that fabric installs itself: ``profiles/engines/<name>.yaml``."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any

import msgspec

from provision import assets
from provision.domain.engine import EngineRelease, Failure
from provision.domain.spec import Spec
from provision.knowledge.load import check


class EngineFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file: releases, best first, and known failures, of which the first match wins.

    ``program`` is the name under which the engine may be on PATH already. ``oldest_version`` is the first that does
    what is asked of it; which versions have security holes stands in ``profiles/advisories.yaml``.

    What sets an engine apart: with ``whole_file`` it loads a GGUF from one file only, with ``keyless`` it answers
    whoever asks, with ``tensor_parallel`` several GPUs compute each layer together. ``unheeded`` are the wishes that
    mean nothing to it, by their names in ``Spec``. With ``inner_sockets`` its processes talk to each other through
    sockets on loopback of which nobody knows the ports before.
    """

    version: int
    checked: str
    releases: tuple[EngineRelease, ...]
    failures: tuple[Failure, ...]
    program: str | None = None
    oldest_version: str | None = None
    whole_file: bool = False
    keyless: bool = False
    tensor_parallel: bool = False
    unheeded: tuple[str, ...] = ()
    inner_sockets: bool = False

    def __post_init__(self) -> None:
        """Refuse the name of a wish that there is not."""
        unknown = set(self.unheeded) - {each.name for each in fields(Spec)}
        if unknown:
            raise ValueError(f"unheeded: there is no {', '.join(sorted(unknown))} in a spec")


@cache
def load_engine_file(engine: str) -> EngineFile:
    """Return what is known of one engine. Raises ``InvalidInputError`` for a file that does not fit."""
    name = f"engines/{engine}"
    data = assets.profile(name)
    if isinstance(data, dict) and isinstance(data.get("releases"), list):
        data = {**data, "releases": [_whole(row, engine) for row in data["releases"]]}
    return check(data, EngineFile, f"profiles/{name}.yaml")


def _whole(row: Any, engine: str) -> Any:
    """Add what the file does not say twice: the engine's name, the version of the wheel, and the name of its build."""
    if not isinstance(row, dict):
        return row
    whole = {"build": "-".join(str(row.get(part)) for part in ("source", "system", "arch")).lower(), **row}
    whole |= {"engine": engine}
    if isinstance(row.get("wheel"), dict):
        whole["wheel"] = {**row["wheel"], "version": row.get("version")}
    return whole
