from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from provision.artifacts.local_model import describe
from provision.errors import InvalidInputError, RefusedError
from tests.unit.artifacts.gguf_file import KEYS, gguf, number, tensor
from tests.unit.artifacts.hf_files import LLAMA_8B, safetensors

WHOLE = gguf(KEYS[:8])


def write(place: Path, data: bytes) -> str:
    place.write_bytes(data)
    return str(place)


def test_a_file_of_the_users_is_described(tmp_path: Path) -> None:
    model = describe(write(tmp_path / "mein modell.gguf", WHOLE))
    assert model.name == "mein-modell"
    assert model.path == str(tmp_path / "mein modell.gguf")
    assert (model.size_bytes, model.license, model.sha256) == (len(WHOLE), "apache-2.0", None)
    assert (model.weights_bytes, model.parameters) == (1024 + 72, 256 + 128)


def test_layers_are_counted_apart_from_what_is_in_none(tmp_path: Path) -> None:
    table = [tensor("token_embd.weight", [32], 0, 0), tensor("blk.0.a", [32], 1, 128), tensor("blk.1.a", [64], 1, 192)]
    model = describe(write(tmp_path / "m.gguf", gguf(KEYS[:8], table)))
    assert (model.weights_bytes, model.layer_bytes, model.other_bytes) == (128 + 64 + 128, 128, 128)


def test_weights_of_a_type_that_is_not_known_count_as_the_file(tmp_path: Path) -> None:
    model = describe(write(tmp_path / "m.gguf", gguf(KEYS[:8], [tensor("blk.0.a", [32], 99, 0)])))
    assert (model.weights_bytes, model.layer_bytes, model.other_bytes) == (None, None, None)


def part(no: int, count: int, name: str) -> bytes:
    keys = KEYS[:8] if no == 0 else []
    return gguf([*keys, number("split.no", no), number("split.count", count)], [tensor(name, [256], 0, 0)])


def test_the_parts_of_a_model_are_counted_together(tmp_path: Path) -> None:
    for no, name in enumerate(["token_embd.weight", "blk.0.a", "blk.0.b"]):
        write(tmp_path / f"big-0000{no + 1}-of-00003.gguf", part(no, 3, name))
    model = describe(str(tmp_path / "big-00001-of-00003.gguf"))
    assert model.name == "big"
    assert (model.weights_bytes, model.layer_bytes, model.other_bytes) == (3072, 2048, 1024)
    assert model.size_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    with pytest.raises(InvalidInputError, match="part 2 of 3"):
        describe(str(tmp_path / "big-00002-of-00003.gguf"))
    (tmp_path / "big-00003-of-00003.gguf").unlink()
    with pytest.raises(InvalidInputError, match=r"big-00003-of-00003\.gguf is missing"):
        describe(str(tmp_path / "big-00001-of-00003.gguf"))


@pytest.mark.parametrize("what", ["missing", "directory", "empty", "pipe"])
def test_what_is_no_model_is_named(tmp_path: Path, what: str) -> None:
    path = tmp_path / "model.gguf"
    if what == "directory":
        path.mkdir()
    elif what == "empty":
        path.touch()
    elif what == "pipe":
        os.mkfifo(path)
    with pytest.raises(InvalidInputError, match=r"model\.gguf"):
        describe(str(path))


@pytest.mark.parametrize("path", ["a\0b", "~nobody-is-called-that/m.gguf", ""])
def test_a_path_that_cannot_be_is_an_error_and_no_traceback(path: str) -> None:
    with pytest.raises(InvalidInputError):
        describe(path)


def directory(place: Path, config: dict[str, Any] | None, files: dict[str, bytes]) -> str:
    place.mkdir(exist_ok=True)
    for name, data in files.items():
        (place / name).write_bytes(data)
    if config is not None:
        (place / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(place)


ONE = safetensors({"a": ("BF16", [4, 8])})


def test_a_directory_of_hugging_face_is_described(tmp_path: Path) -> None:
    place = directory(tmp_path / "Llama-3.1-8B", LLAMA_8B, {"model.safetensors": ONE})
    model = describe(place)
    assert (model.name, model.format, model.quantization) == ("Llama-3.1-8B", "safetensors", "BF16")
    assert (model.weights_bytes, model.parameters, model.size_bytes) == (64, 32, len(ONE))
    assert (model.shape.layers, model.shape.heads_kv, model.path) == (32, 8, place)


def test_parameters_of_packed_weights_are_not_guessed(tmp_path: Path) -> None:
    config = LLAMA_8B | {"quantization_config": {"quant_method": "awq", "bits": 4}}
    model = describe(directory(tmp_path / "m", config, {"model.safetensors": ONE}))
    assert (model.quantization, model.parameters) == ("AWQ-INT4", None)


@pytest.mark.fault("hostile-model")
@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "model.pt", "model.ckpt"])
def test_pickled_weights_are_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    with pytest.raises(RefusedError, match="program"):
        describe(directory(tmp_path / "m", LLAMA_8B, {name: b"\x80\x02"}))
    with pytest.raises(RefusedError, match="program"):
        describe(str(tmp_path / "m" / name))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "training_args.bin"])
def test_pickled_weights_beside_safe_ones_are_left_alone(tmp_path: Path, name: str) -> None:
    files = {"model.safetensors": ONE, name: b"\x80\x02"}
    assert describe(directory(tmp_path / "m", LLAMA_8B, files)).size_bytes == len(ONE)


AUTO_MAP = {"auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil"}}
PROGRAMS = {
    "a model's class": {"config.json": LLAMA_8B | AUTO_MAP},
    "a class inside": {"config.json": LLAMA_8B | {"vision_config": {"encoders": [AUTO_MAP]}}},
    "a class elsewhere": {"config.json": LLAMA_8B | {"auto_map": {"AutoConfig": "someone/else--configuration.Evil"}}},
    "a tokenizer's class": {"tokenizer_config.json": AUTO_MAP},
    "a processor's class": {"preprocessor_config.json": AUTO_MAP},
    "a class below": {"vision/config.json": AUTO_MAP},
    "a way to generate": {"generation_config.json": {"custom_generate": "someone/else"}},
    "a file that is no JSON": {"tokenizer_config.json": b'{"auto_map": {"AutoTokenizer": "x.Y"},}'},
    "a file as large as no other": {"tokenizer_config.json": b" " * (4 << 20) + b"{}"},
    "an endless file": {"tokenizer_config.json": b"[" * 100_000 + b'"auto_map"'},
    "a deep file": {"tokenizer_config.json": b"[" * 100 + b"]" * 100},
    "Python": {"modeling_evil.py": b"import os"},
    "Python below": {"custom_generate/generate.py": b"import os"},
}


@pytest.mark.fault("hostile-model")
@pytest.mark.parametrize("files", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_a_model_that_carries_a_program_is_refused(tmp_path: Path, files: dict[str, Any]) -> None:
    place = Path(directory(tmp_path / "m", LLAMA_8B, {"model.safetensors": ONE}))
    for name, content in files.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(RefusedError, match="m: It carries its own program") as told:
        describe(str(place))
    assert told.value.hint


def test_what_other_models_have_beside_their_weights_is_no_program(tmp_path: Path) -> None:
    files = {
        "model.safetensors": ONE,
        "tokenizer.json": b'{"auto_map": "of no interest"}',
        "tokenizer_config.json": b'{"tokenizer_class": "LlamaTokenizer", "auto_map": null}',
        "generation_config.json": b"{}",
        "tokenizer.model": b"\x0a",
        "merges.txt": b"a b",
        "chat_template.jinja": b"{{ auto_map }}",
    }
    assert describe(directory(tmp_path / "m", LLAMA_8B, files)).name == "m"


@pytest.mark.fault("hostile-model")
def test_a_header_that_harms_is_refused_by_the_name_of_its_file(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"^m\.gguf: .* an alignment of 2147483648 is not possible"):
        describe(write(tmp_path / "m.gguf", gguf([*KEYS[:8], number("general.alignment", 2**31)])))


def test_a_directory_without_its_configuration_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"m: config\.json is missing"):
        describe(directory(tmp_path / "m", None, {"model.safetensors": ONE}))
