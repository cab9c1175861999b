"""The releases of one engine that fabric installs itself: ``profiles/engines/<name>.yaml``."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from provision import assets
from provision.domain.engine import EngineRelease, Failure
from provision.knowledge.load import check


class EngineFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file: releases, best first, and known failures, of which the first match wins."""

    version: int
    checked: str
    releases: tuple[EngineRelease, ...]
    failures: tuple[Failure, ...]


@cache
def load_engine_file(engine: str) -> EngineFile:
    """Return what is known of one engine. Raises ``InvalidInputError`` for a file that does not fit."""
    name = f"engines/{engine}"
    data = assets.profile(name)
    if isinstance(data, dict) and isinstance(data.get("releases"), list):
        data = {**data, "releases": [_whole(row, engine) for row in data["releases"]]}
    return check(data, EngineFile, f"profiles/{name}.yaml")


def _whole(row: Any, engine: str) -> Any:
    """Add what the file does not say twice: the engine's name, and the version of the wheel."""
    if not isinstance(row, dict) or not isinstance(row.get("wheel"), dict):
        return row
    return {**row, "engine": engine, "wheel": {**row["wheel"], "version": row.get("version")}}
