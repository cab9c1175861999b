"""A language model as a file with a known shape."""

from __future__ import annotations

from dataclasses import dataclass

from provision.domain.artifacts import WheelMember


@dataclass(frozen=True)
class ModelShape:
    """The numbers that decide how much memory a model needs.

    ``heads_kv``, ``key_length`` and ``value_length`` hold for every one of ``layers``; ``context_length`` is
    the number of tokens the model was trained for.
    """

    architecture: str
    layers: int
    heads_kv: int
    key_length: int
    value_length: int
    context_length: int


@dataclass(frozen=True)
class Model:
    """``name`` is what clients ask for; ``reference`` is what the user wrote or could have written.

    Either ``source`` says where to fetch it, or ``path`` is a file of the user's, used where it lies and never
    removed.
    """

    name: str
    reference: str
    format: str
    quantization: str | None
    size_bytes: int
    sha256: str | None
    shape: ModelShape
    source: WheelMember | None = None
    path: str | None = None
    license: str | None = None
