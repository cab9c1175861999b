"""A language model as a file with a known shape."""

from __future__ import annotations

import re

from provision.domain.artifacts import PinnedFile, WheelMember
from provision.domain.frozen import frozen

_PART = re.compile(r"-[0-9]{5}-of-([0-9]{5})\.gguf$")


@frozen
class AttentionGroup:
    """Layers whose KV cache is alike: each keeps ``heads_kv`` keys and values of these lengths for a token.

    ``window`` is how many tokens a sliding-window layer looks back; ``None`` means the whole context. Latent
    attention (MLA) caches one vector for all heads: one head, its length as ``key_length``, no value.
    """

    layers: int
    heads_kv: int
    key_length: int
    value_length: int
    window: int | None = None


@frozen
class ModelShape:
    """The numbers that decide how much memory a model needs.

    ``heads_kv``, ``key_length`` and ``value_length`` are those of the largest layer, and hold for every one of
    ``layers`` where ``attention`` is empty. Where it is not, its groups are all layers that have a KV cache.
    ``recurrent_bytes`` is the state of all recurrent and linear-attention layers for one sequence, of any length.
    ``context_length`` is the number of tokens the model was trained for.
    """

    architecture: str
    layers: int
    heads_kv: int
    key_length: int
    value_length: int
    context_length: int
    attention: tuple[AttentionGroup, ...] = ()
    recurrent_bytes: int = 0

    @property
    def groups(self) -> tuple[AttentionGroup, ...]:
        """Every layer that has a KV cache, by kind."""
        return self.attention or (AttentionGroup(self.layers, self.heads_kv, self.key_length, self.value_length),)


@frozen
class Parsers:
    """How to read what a model writes, in vLLM's names: the form of its ``tool_call``, and of its ``reasoning``."""

    tool_call: str | None = None
    reasoning: str | None = None


@frozen
class Model:
    """``name`` is what clients ask for; ``reference`` is what the user wrote or could have written.

    ``source`` or ``files`` say where to fetch it, or ``path`` is a file or directory of the user's, used where it lies
    and never removed; with none of them the ``reference`` has still to be resolved. ``files`` are all that it takes:
    the first GGUF part comes first, a directory's files in the order of their paths. ``revision`` is what upstream
    calls exactly these files: a commit on the hub, the manifest's digest in an Ollama registry; ``None`` where there
    is no such word. ``size_bytes`` is what its files take; ``weights_bytes`` what its tensors do, where their headers
    were read: ``layer_bytes`` is the largest of the layers that repeat, ``other_bytes`` what belongs to none of them
    (embeddings, output).
    """

    name: str
    reference: str
    format: str
    quantization: str | None
    size_bytes: int
    sha256: str | None
    shape: ModelShape
    source: WheelMember | None = None
    files: tuple[PinnedFile, ...] = ()
    revision: str | None = None
    path: str | None = None
    license: str | None = None
    parameters: int | None = None
    weights_bytes: int | None = None
    layer_bytes: int | None = None
    other_bytes: int | None = None
    parsers: Parsers = Parsers()

    @property
    def resolved(self) -> bool:
        """Whether it is known where its files are."""
        return bool(self.source or self.files or self.path)

    @property
    def is_split(self) -> bool:
        """Whether it is a GGUF in several files."""
        name = self.files[0].path if self.files else self.path or ""
        part = _PART.search(name)
        return self.format == "gguf" and part is not None and int(part[1]) > 1

    @property
    def place(self) -> str:
        """Where it comes from: the scheme of the reference, such as ``hf``; ``wheel`` for what the catalogue pins."""
        return "wheel" if self.source else self.reference.partition(":")[0]

    @property
    def verified(self) -> bool:
        """Whether what is fetched is checked against hashes that somebody else has told, or is the user's own file."""
        return all(file.verified for file in self.files)
