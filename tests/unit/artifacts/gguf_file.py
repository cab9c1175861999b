"""GGUF files of a few kilobytes, made key by key as the specification in the ggml project lays them out."""

from __future__ import annotations

import struct

U8, I32, U32, F32, BOOL, STRING, ARRAY, U64, F64 = 0, 5, 4, 6, 7, 8, 9, 10, 12


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def number(name: str, value: int) -> bytes:
    return text(name) + struct.pack("<IQ", U64, value)


def floating(name: str, value: float) -> bytes:
    return text(name) + struct.pack("<Id", F64, value)


def string(name: str, value: str) -> bytes:
    return text(name) + struct.pack("<I", STRING) + text(value)


def array(name: str, kind: int, values: list[bytes]) -> bytes:
    return text(name) + struct.pack("<IIQ", ARRAY, kind, len(values)) + b"".join(values)


def numbers(name: str, values: list[int]) -> bytes:
    return array(name, I32, [struct.pack("<i", value) for value in values])


def truths(name: str, values: list[bool]) -> bytes:
    return array(name, BOOL, [struct.pack("<?", value) for value in values])


KEYS = [
    string("general.architecture", "llama"),
    number("general.file_type", 3),
    string("general.license", "apache-2.0"),
    number("llama.block_count", 30),
    number("llama.context_length", 8192),
    number("llama.embedding_length", 576),
    number("llama.attention.head_count", 9),
    number("llama.attention.head_count_kv", 3),
    array("tokenizer.ggml.tokens", STRING, [text(f"token {n}") for n in range(1500)]),
    array("tokenizer.ggml.scores", F32, [struct.pack("<f", n) for n in range(1500)]),
]


def tensor(name: str, dimensions: list[int], kind: int, offset: int) -> bytes:
    head = text(name) + struct.pack("<I", len(dimensions))
    return head + b"".join(struct.pack("<Q", d) for d in dimensions) + struct.pack("<IQ", kind, offset)


def gguf(
    keys: list[bytes] | None = None, tensors: list[bytes] | None = None, version: int = 3, data: int = 4096
) -> bytes:
    """Return a whole file with these keys and tensors and ``data`` bytes of tensor data."""
    keys = KEYS if keys is None else keys
    tensors = [tensor("a", [32, 8], 0, 0), tensor("b", [32, 4], 2, 1024)] if tensors is None else tensors
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys)) + b"".join(keys) + b"".join(tensors)
    padding = -len(head) % 32
    return head + bytes(padding) + bytes(data)


def name_of(key: bytes) -> bytes:
    return key[8 : 8 + int(struct.unpack("<Q", key[:8])[0])]


def changed(*keys: bytes) -> bytes:
    """Return the usual file with these keys instead of those of the same name."""
    names = [name_of(key) for key in keys]
    return gguf([*(key for key in KEYS if name_of(key) not in names), *keys])


def model(architecture: str, *, layers: int, context: int, embedding: int, heads: int, **own: int | list[int]) -> bytes:
    """Return a file of one architecture; ``own`` are its other keys, with ``__`` for the dot."""
    keys = [
        string("general.architecture", architecture),
        number(f"{architecture}.block_count", layers),
        number(f"{architecture}.context_length", context),
        number(f"{architecture}.embedding_length", embedding),
        number(f"{architecture}.attention.head_count", heads),
    ]
    for name, value in own.items():
        key = f"{architecture}.{name.replace('__', '.')}"
        keys.append(numbers(key, value) if isinstance(value, list) else number(key, value))
    return gguf(keys)
