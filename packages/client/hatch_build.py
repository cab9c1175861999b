"""What the distribution holds: the modules that the client imports, one by the other, and what these need.

Both are read from the sources, so that neither is written twice.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = "provision"
PUBLIC = ("client", "inference")
DISTRIBUTIONS = {"yaml": "pyyaml"}  # where it has another name than its module


class Sources:
    """The modules below ``root`` that the client consists of (``files``), and the libraries that they import.

    ``libraries`` has one of the files that import each.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: set[Path] = set()
        self.libraries: dict[str, Path] = {}
        for name in PUBLIC:
            for path in sorted((root / PACKAGE / name).rglob("*.py")):
                self._add(path)

    def _add(self, path: Path) -> None:
        if path in self.files:
            return
        self.files.add(path)
        for parent in path.relative_to(self.root).parents[:-1]:
            self._add(self.root / parent / "__init__.py")
        for name, is_for_types in _imports(ast.parse(path.read_text(encoding="utf-8"))):
            self._follow(path, name, is_for_types)

    def _follow(self, importer: Path, name: str, is_for_types: bool) -> None:
        top = name.partition(".")[0]
        if top != PACKAGE:
            if not is_for_types and top not in sys.stdlib_module_names:
                self.libraries.setdefault(top, importer)
            return
        place = self.root.joinpath(*name.split("."))
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                self._add(path)


def _imports(node: ast.AST, is_for_types: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield the names of all modules, and of what may be one, that are imported, and whether only type checkers do."""
    if isinstance(node, ast.Import):
        yield from ((each.name, is_for_types) for each in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module, is_for_types
        yield from ((f"{node.module}.{each.name}", is_for_types) for each in node.names)
    guarded = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, is_for_types or guarded)


def requirements(sources: Sources, asked: Mapping[str, str]) -> Iterator[str]:
    """Yield what ``asked`` has for each library. Raises ``ValueError`` for one that fabric does not ask for."""
    for library, importer in sources.libraries.items():
        name = DISTRIBUTIONS.get(library, library)
        if name not in asked:
            raise ValueError(f"{importer} imports {library}, which is no dependency in fabric's pyproject.toml")
        yield asked[name]


def _checkout(root: str) -> Path:
    return Path(root).resolve().parents[1]


class Metadata(MetadataHookInterface):
    """Takes from fabric's own ``pyproject.toml`` which Python and which versions of the libraries are needed."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in what is dynamic."""
        checkout = _checkout(self.root)
        project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        asked = {re.split(r"[^A-Za-z0-9._-]", each)[0].lower(): each for each in project["dependencies"]}
        metadata["dependencies"] = sorted(requirements(Sources(checkout), asked))
        metadata["requires-python"] = project["requires-python"]


class Files(BuildHookInterface[Any]):
    """Puts the modules into the wheel."""

    def initialize(self, _version: str, build_data: dict[str, Any]) -> None:
        """Name them. Raises ``ValueError`` for a source distribution: the sources are those of all of fabric."""
        if self.target_name != "wheel":
            raise ValueError("the client has no source distribution: build the wheel alone, from a checkout")
        checkout = _checkout(self.root)
        for path in Sources(checkout).files:
            build_data["force_include"][str(path)] = str(path.relative_to(checkout))
