"""A model of the user's, described from its headers and used where it lies.

It is a GGUF file, or a directory as Hugging Face lays it out: ``config.json`` and safetensors files.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provision.artifacts.gguf import GgufHeader, read_header
from provision.artifacts.hf_program import PICKLES, refuse_program
from provision.domain.model import Model
from provision.errors import InvalidInputError, RefusedError

MAX_PARTS = 1000
_PART = re.compile(r"(.*)-([0-9]{5})-of-([0-9]{5})")


def describe(path: str) -> Model:
    """Return the model in the file or directory at ``path``.

    Raises ``InvalidInputError`` where it is not a whole model, and ``RefusedError`` for weights that run code when
    they are loaded, for a directory with a program in it, and for a header that could harm who loads it.
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
    from provision.artifacts.gguf_shape import quantization_of, shape_of

    if file.suffix in PICKLES:
        raise _pickled("It")
    header = _header(file)
    others = _other_parts(file, header)
    tensors = header.tensors
    for part in others:
        tensors.merge(_header(part).tensors)
    license_name = header.keys.get("general.license")
    return Model(
        name=_PART.sub(r"\1", file.stem) if others else file.stem,
        reference=f"file:{file}",
        format="gguf",
        quantization=quantization_of(header),
        size_bytes=sum(part.stat().st_size for part in (file, *others)),
        sha256=None,
        shape=shape_of(header),
        path=str(file),
        license=license_name if isinstance(license_name, str) else None,
        parameters=tensors.parameters or None,
        weights_bytes=tensors.size_bytes if tensors.known and tensors.count else None,
        layer_bytes=max(tensors.layers.values(), default=0) or None if tensors.known else None,
        other_bytes=tensors.other_bytes if tensors.known else None,
    )


def _header(file: Path) -> GgufHeader:
    with file.open("rb") as opened:
        return read_header(opened, file.stat().st_size)


def _other_parts(file: Path, header: GgufHeader) -> list[Path]:
    """Return the other files of a model that was split; the engine finds them by their names, so they must be there."""
    count = header.keys.get("split.count")
    if not isinstance(count, int) or not 1 < count <= MAX_PARTS:
        return []
    name = _PART.fullmatch(file.stem)
    if name is None or int(name[3]) != count:
        raise InvalidInputError(f"It is a part of {count}, but not named so.", "Give the parts their own names back.")
    parts = [file.with_name(f"{name[1]}-{number:05d}-of-{count:05d}{file.suffix}") for number in range(1, count + 1)]
    if file != parts[0]:
        raise InvalidInputError(f"It is part {int(name[2])} of {count}.", f"Name the first one: {parts[0].name}.")
    absent = next((part.name for part in parts if not part.is_file()), None)
    if absent:
        raise InvalidInputError(f"{absent} is missing.", "Put all parts into one directory.")
    return parts[1:]


def _directory(directory: Path) -> Model:
    from provision.artifacts.hf_config import CONFIG, quantization_of, read_config, shape_of
    from provision.artifacts.safetensors import read_weights, weight_files

    files = weight_files(directory)
    if not files:
        pickled = next((each.name for each in sorted(directory.iterdir()) if each.suffix in PICKLES), None)
        if pickled:
            raise _pickled(pickled)
        raise InvalidInputError(
            "It is a directory without safetensors files.", "Name a GGUF file in it, or a downloaded model's directory."
        )
    if not (directory / CONFIG).is_file():
        raise InvalidInputError(f"{CONFIG} is missing.", "Download the whole model.")
    refuse_program(directory)
    config = read_config(directory)
    weights = read_weights(files)
    plain = not isinstance(config.get("quantization_config"), dict)
    return Model(
        name=directory.name,
        reference=f"file:{directory}",
        format="safetensors",
        quantization=quantization_of(config),
        size_bytes=sum(file.stat().st_size for file in files),
        sha256=None,
        shape=shape_of(config),
        path=str(directory),
        parameters=weights.parameters if plain else None,
        weights_bytes=weights.size_bytes,
    )


def _pickled(name: str) -> RefusedError:
    return RefusedError(
        f"{name} holds pickled weights, and loading them would run whatever program is in them.",
        "Use the model's safetensors files, or a GGUF file of it.",
    )
