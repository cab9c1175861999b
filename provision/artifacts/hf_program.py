"""Whether the directory of a Hugging Face model holds a program, which some engines would run.

Engines run it only when they are told to trust it, which this program never does; but there were bugs by which they ran
it all the same (CVE-2025-66448 of vLLM is one).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from provision.artifacts.hf_config import MAX_CONFIG_BYTES
from provision.errors import RefusedError

MAX_DEPTH = 64
OWN_CLASSES = ("auto_map", "custom_generate", "custom_pipelines")


def refuse_program(directory: Path, whose: str = "It") -> None:
    """Raise ``RefusedError`` where ``directory``, of the model ``whose``, holds Python files or names own classes.

    Looks at the directory and one level below, as far as engines do. Pickled weights beside safe ones are left alone:
    engines are told to load the safe ones. Raises ``OSError`` where it cannot be read.
    """
    for path in _files(directory):
        name = str(path.relative_to(directory))
        if path.suffix == ".py":
            raise _refused(whose, f"{name} is a program that comes with the model")
        if is_configuration(name):
            with path.open("rb") as file:
                refuse_named_program(name, file.read(MAX_CONFIG_BYTES + 1), whose)


def is_configuration(path: str) -> bool:
    """Tell whether engines read from a file of this name which classes load the model."""
    name = path.rpartition("/")[2]
    return name.endswith(".json") and "config" in name


def refuse_named_program(path: str, data: bytes, whose: str) -> None:
    """Raise ``RefusedError`` where the configuration ``data`` at ``path`` names own classes of the model ``whose``."""
    if _names_classes(data):
        raise _refused(whose, f"{path} says that the model is loaded by a program of its own ({OWN_CLASSES[0]})")


def _files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        if path.is_file():
            yield path
        elif path.is_dir() and not path.name.startswith("."):
            yield from (inner for inner in sorted(path.iterdir()) if inner.is_file())


def _names_classes(data: bytes) -> bool:
    """Tell whether a configuration names classes of its own, at any depth. What cannot be read is not trusted."""
    if len(data) > MAX_CONFIG_BYTES:
        return True
    try:
        return _mentions(json.loads(data), MAX_DEPTH)
    except (ValueError, RecursionError):
        return any(name.encode() in data for name in OWN_CLASSES)


def _mentions(value: Any, depth: int) -> bool:
    if depth == 0:
        return True
    if isinstance(value, dict):
        return any(value.get(name) for name in OWN_CLASSES) or _mentions(list(value.values()), depth - 1)
    return isinstance(value, list) and any(_mentions(each, depth - 1) for each in value)


def _refused(whose: str, what: str) -> RefusedError:
    return RefusedError(
        f"{whose} carries its own program: {what}.",
        "Use a model that its engine knows by itself, or a GGUF file of it; a copy of the directory without such files "
        "is fine, too.",
    )
