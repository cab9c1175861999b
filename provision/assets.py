"""Finding the data files: inside an installed package, or at the root of a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_PACKAGED = Path(__file__).parent / "_data"
_CHECKOUT = Path(__file__).parent.parent
ROOT = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT


def profile(name: str) -> Any:
    """Return the parsed ``profiles/<name>.yaml``."""
    return parse_yaml((ROOT / "profiles" / f"{name}.yaml").read_text(encoding="utf-8"))


def template(name: str) -> str:
    """Return the text of ``templates/<name>.j2``."""
    return (ROOT / "templates" / f"{name}.j2").read_text(encoding="utf-8")


def templates() -> list[str]:
    """Return the names of all templates."""
    return sorted(path.name.removesuffix(".j2") for path in (ROOT / "templates").glob("*.j2"))


def parse_yaml(text: str) -> Any:
    """Parse trusted YAML with the C parser where it was built in: ten times faster."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(text, Loader=loader)  # noqa: S506 - both are safe loaders
