"""A model, from the headers of its files: the same whether they lie here or elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from provision.artifacts.gguf import GgufHeader
from provision.artifacts.safetensors import Weights
from provision.domain.model import Model
from provision.domain.safe_name import client_name
from provision.errors import InvalidInputError, RefusedError

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
MAX_PARTS = 1000
PART = re.compile(r"(.*)-([0-9]{5})-of-([0-9]{5})")


def part_names(filename: str, count: int) -> list[str]:
    """Return the names of all files of a model that was split into ``count``, of which ``filename`` is the first.

    An engine finds the others by these names. Raises ``InvalidInputError`` where ``filename`` is not the first one.
    """
    path = PurePosixPath(filename)
    name = PART.fullmatch(path.stem)
    if name is None or int(name[3]) != count or not 1 <= count <= MAX_PARTS:
        raise InvalidInputError(f"It is a part of {count}, but not named so.", "Give the parts their own names back.")
    names = [f"{name[1]}-{number:05d}-of-{count:05d}{path.suffix}" for number in range(1, count + 1)]
    if filename != names[0]:
        raise InvalidInputError(f"It is part {int(name[2])} of {count}.", f"Name the first one: {names[0]}.")
    return names


def parts_of(filename: str, header: GgufHeader) -> list[str]:
    """Return the names of all files of the model whose first file this is: by itself, or with its other parts."""
    count = header.keys.get("split.count")
    if not isinstance(count, int) or not 1 < count <= MAX_PARTS:
        return [filename]
    return part_names(filename, count)


def gguf_model(filename: str, headers: Sequence[GgufHeader], *, reference: str, size_bytes: int) -> Model:
    """Return the model in a GGUF file and its other parts. Raises ``InvalidInputError`` for no language model."""
    from provision.artifacts.gguf_shape import quantization_of, shape_of

    first, *others = headers
    tensors = first.tensors
    for part in others:
        tensors.merge(part.tensors)
    stem = PurePosixPath(filename).stem
    license_name = first.keys.get("general.license")
    return Model(
        name=client_name(PART.sub(r"\1", stem) if others else stem),
        reference=reference,
        format="gguf",
        quantization=quantization_of(first),
        size_bytes=size_bytes,
        sha256=None,
        shape=shape_of(first),
        license=license_name if isinstance(license_name, str) else None,
        parameters=tensors.parameters or None,
        weights_bytes=tensors.size_bytes if tensors.known and tensors.count else None,
        layer_bytes=max(tensors.layers.values(), default=0) or None if tensors.known else None,
        other_bytes=tensors.other_bytes if tensors.known else None,
    )


def safetensors_model(name: str, config: dict[str, Any], weights: Weights, *, reference: str, size_bytes: int) -> Model:
    """Return the model in a directory of Hugging Face. Raises ``InvalidInputError`` for no language model."""
    from provision.artifacts.hf_config import quantization_of, shape_of

    plain = not isinstance(config.get("quantization_config"), dict)
    return Model(
        name=client_name(name),
        reference=reference,
        format="safetensors",
        quantization=quantization_of(config),
        size_bytes=size_bytes,
        sha256=None,
        shape=shape_of(config),
        parameters=weights.parameters if plain else None,
        weights_bytes=weights.size_bytes,
    )


def pickled(name: str) -> RefusedError:
    """Return the error for weights that run code when they are loaded."""
    return RefusedError(
        f"{name} holds pickled weights, and loading them would run whatever program is in them.",
        "Use the model's safetensors files, or a GGUF file of it.",
    )
