"""A model of the user's, described from its headers and used where it lies.

It is a GGUF file, or a directory as Hugging Face lays it out: ``config.json`` and safetensors files.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from provision.artifacts.gguf import GgufHeader, read_header
from provision.artifacts.hf_program import refuse_program
from provision.artifacts.model_headers import PICKLES, gguf_model, parts_of, pickled, safetensors_model
from provision.domain.model import Model
from provision.errors import InvalidInputError, RefusedError


def describe(path: str) -> Model:
    """Return the model in the file or directory at ``path``.

    Raises ``InvalidInputError`` where it is not a whole model, and ``RefusedError`` for weights that run code when
    they are loaded.
    """
    try:
        place = Path(path).expanduser().absolute()
        kind = stat.S_IFMT(place.stat().st_mode)
    except (OSError, ValueError, RuntimeError) as error:  # such as a NUL in the path, or a home that nobody has
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidInputError(f"Cannot read the model file {path}: {reason}.", "Check the path.") from error
    with _named(place):
        if kind not in (stat.S_IFREG, stat.S_IFDIR):
            raise InvalidInputError("It is neither a file nor a directory.", "Check the path.")
        return _directory(place) if kind == stat.S_IFDIR else _gguf(place)


@contextmanager
def _named(place: Path) -> Iterator[None]:
    """Name the file in every error, and make one of what the system says."""
    try:
        yield
    except OSError as error:
        raise InvalidInputError(f"Cannot read the model file {place}: {error.strerror}.", "Check the path.") from error
    except (InvalidInputError, RefusedError) as error:
        raise type(error)(f"{place.name}: {error.message}", error.hint) from error


def _gguf(file: Path) -> Model:
    if file.suffix in PICKLES:
        raise pickled("It")
    header = _header(file)
    parts = [file.with_name(name) for name in parts_of(file.name, header)]
    absent = next((part.name for part in parts if not part.is_file()), None)
    if absent:
        raise InvalidInputError(f"{absent} is missing.", "Put all parts into one directory.")
    headers = [header, *(_header(part) for part in parts[1:])]
    size_bytes = sum(part.stat().st_size for part in parts)
    return replace(
        gguf_model(file.name, headers, reference=f"file:{file}", size_bytes=size_bytes),
        path=str(file),
    )


def _header(file: Path) -> GgufHeader:
    with file.open("rb") as opened:
        return read_header(opened, file.stat().st_size)


def _directory(directory: Path) -> Model:
    from provision.artifacts.hf_config import CONFIG, read_config
    from provision.artifacts.safetensors import read_weights, weight_files

    files = weight_files(directory)
    if not files:
        name = next((each.name for each in sorted(directory.iterdir()) if each.suffix in PICKLES), None)
        if name:
            raise pickled(name)
        raise InvalidInputError(
            "It is a directory without safetensors files.", "Name a GGUF file in it, or a downloaded model's directory."
        )
    if not (directory / CONFIG).is_file():
        raise InvalidInputError(f"{CONFIG} is missing.", "Download the whole model.")
    refuse_program(directory)
    config, weights = read_config(directory), read_weights(files)
    size_bytes = sum(file.stat().st_size for file in files)
    return replace(
        safetensors_model(directory.name, config, weights, reference=f"file:{directory}", size_bytes=size_bytes),
        path=str(directory),
    )
