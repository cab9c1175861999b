"""The files that a lock file of PEP 751 names, as ``uv`` writes one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


def addresses_in(pylock: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Map file names to addresses and descriptions in a PEP 751 lock file."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    packages: list[dict[str, Any]] = tomllib.loads(pylock).get("packages", [])
    files = [wheel for package in packages for wheel in package.get("wheels", [])]
    files += [package[kind] for package in packages for kind in ("archive", "sdist") if kind in package]
    return {_file_name(file): (file.get("url") or Path(file["path"]).absolute().as_uri(), file) for file in files}


def _file_name(file: Mapping[str, Any]) -> str:
    if "name" in file:
        return str(file["name"])
    return unquote(urlsplit(file.get("url", "")).path or file.get("path", "")).rpartition("/")[2]
