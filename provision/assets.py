"""Finding the data files: inside an installed package, or at the root of a checkout."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from provision.errors import InvalidInputError

_REINSTALL = "It is part of fabric: undo the change, or install fabric again."
_PACKAGED = Path(__file__).parent / "_data"
_CHECKOUT = Path(__file__).parent.parent
MAX_DEPTH = 50  # of YAML that somebody else wrote
ROOT = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT


def profile(name: str) -> Any:
    """Return the parsed ``profiles/<name>.yaml``. Raises ``InvalidInputError`` where that is no YAML, or not there."""
    path = ROOT / "profiles" / f"{name}.yaml"
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(f"Cannot read {path}: {error.strerror}.", _REINSTALL) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path} is no YAML: {' '.join(str(error).split())}.", _REINSTALL) from error


def template(name: str) -> str:
    """Return the text of ``templates/<name>.j2``, one of ``templates()``."""
    return (ROOT / "templates" / f"{name}.j2").read_text(encoding="utf-8")


def templates() -> list[str]:
    """Return the names of all templates."""
    return sorted(path.name.removesuffix(".j2") for path in (ROOT / "templates").glob("*.j2"))


def parse_yaml(text: str) -> Any:
    """Parse YAML with the C parser where it was built in: ten times faster.

    Raises ``ValueError`` for what is none, and for a key that is given twice, of which one would be ignored.
    """
    import yaml

    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        node = loader.get_single_node()
        _refuse_twins(node)
        return loader.construct_document(node) if node is not None else None
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def refuse_unbounded_yaml(text: str, *, is_whole: bool) -> None:
    """Raise ``ValueError`` for YAML that is small and would become large, or is nested too deeply to be composed.

    The parser in C ends the process over the latter.
    """
    import yaml

    if not is_whole:
        raise ValueError("it is too large")
    depth = 0
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            is_reference = isinstance(event, yaml.AliasEvent)
            if is_reference or depth > MAX_DEPTH:
                line = event.start_mark.line + 1 if event.start_mark else 1
                why = "references with * are not taken" if is_reference else "it is nested too deeply"
                raise ValueError(f"line {line}: {why}")
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _refuse_twins(node: Any) -> None:
    """Look at the keys before they become a mapping."""
    values = getattr(node, "value", None)
    if not isinstance(values, list):
        return
    pairs = [each for each in values if isinstance(each, tuple)]
    names = [key.value for key, _ in pairs if isinstance(key.value, str)]
    twins = {name for name, count in Counter(names).items() if count > 1 and name != "<<"}
    if twins:
        raise ValueError(f"line {node.start_mark.line + 1} and after: {min(twins)} is given twice")
    for each in values:
        _refuse_twins(each[1] if isinstance(each, tuple) else each)
