"""A configuration as Hugging Face has it, and safetensors files of a few bytes."""

from __future__ import annotations

import json
import struct
from typing import Any

LLAMA_8B: dict[str, Any] = {
    "model_type": "llama", "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "hidden_size": 4096, "max_position_embeddings": 131_072, "vocab_size": 128_256, "torch_dtype": "bfloat16",
}  # fmt: skip
BITS = {"BF16": 16, "F32": 32, "I32": 32, "U8": 8, "F8_E4M3": 8, "F4": 4}


def header(entries: Any) -> bytes:
    """Return a header, padded with spaces to a multiple of eight as the format's own library does it."""
    data = json.dumps(entries).encode()
    data += b" " * (-len(data) % 8)
    return struct.pack("<Q", len(data)) + data


def safetensors(table: dict[str, tuple[str, list[int]]], metadata: dict[str, str] | None = None) -> bytes:
    """Return a whole file with these tensors, one behind the other."""
    entries: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, (dtype, shape) in table.items():
        elements = 1
        for dimension in shape:
            elements *= dimension
        start, end = end, end + elements * BITS[dtype] // 8
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    return header(entries) + bytes(end)
