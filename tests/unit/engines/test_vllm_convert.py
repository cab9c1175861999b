"""The converter, against stand-ins for the packages of vLLM's environment."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from provision.engines import vllm_convert
from provision.engines.vllm_convert import main

GGUF = b"GGUF\x03\x00\x00\x00"


class Field:
    def __init__(self, value: int) -> None:
        self._value = value

    def contents(self) -> int:
        return self._value


class Model:
    def __init__(self) -> None:
        self.generation_config: Any = ModuleType("generation_config")

    def num_parameters(self) -> int:
        return 7

    def save_pretrained(self, directory: Path) -> None:
        (directory / "model.safetensors").write_bytes(b"weights")
        (directory / "model.safetensors").chmod(0o600)
        (directory / "ends").write_text(str(self.generation_config.eos_token_id))


class Tokenizer:
    def save_pretrained(self, directory: Path) -> None:
        (directory / "tokenizer.json").write_text("{}")


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Install stand-ins and return what they shall do: the header's fields, and an error of the loading."""
    behaviour: dict[str, Any] = {"fields": {"tokenizer.ggml.eos_token_id": Field(2)}, "error": None, "seen": []}

    def load_model(directory: Path, **options: Any) -> Model:
        behaviour["seen"].append((directory / options["gguf_file"]).read_bytes())
        if behaviour["error"]:
            raise behaviour["error"]
        return Model()

    class Reader:
        def __init__(self, _path: Path) -> None:
            self.fields = behaviour["fields"]

    def module(name: str, **attributes: Any) -> None:
        made = ModuleType(name)
        vars(made).update(attributes)
        monkeypatch.setitem(sys.modules, name, made)

    def loader(function: Any) -> Any:
        return type("Auto", (), {"from_pretrained": staticmethod(function)})

    quiet = type("Logging", (), dict.fromkeys(("set_verbosity_error", "disable_progress_bar"), staticmethod(list)))
    module("accelerate")
    module("gguf", GGUFReader=Reader)
    module("torch", bfloat16="bfloat16")
    module(
        "transformers",
        __version__="5.0",
        logging=quiet,
        GgufConfig=dict,
        AutoTokenizer=loader(lambda *_args, **_options: Tokenizer()),
        AutoModelForCausalLM=loader(load_model),
    )
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_PROGRESS_BARS", "TQDM_DISABLE"):
        monkeypatch.setenv(name, "1")
    return behaviour


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a-blob-without-an-ending"
    path.write_bytes(GGUF)
    return path


def test_the_directory_is_written_whole_and_readable(packages: dict[str, Any], source: Path, tmp_path: Path) -> None:
    assert main([str(source), str(tmp_path / "model")]) == 0
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "ends",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert (tmp_path / "model" / "model.safetensors").stat().st_mode & 0o777 == 0o644
    assert packages["seen"] == [GGUF]
    assert sorted(path.name for path in tmp_path.iterdir()) == [source.name, "model"]


@pytest.mark.parametrize(
    ("header", "ends"),
    [
        ({"eos": 2}, "2"),
        ({"eos": 2, "eot": 2}, "2"),
        ({"eos": 128001, "eot": 128009, "eom": 128008}, "[128001, 128009, 128008]"),
    ],
)
def test_every_end_of_an_answer_is_known(
    packages: dict[str, Any], source: Path, tmp_path: Path, header: dict[str, int], ends: str
) -> None:
    packages["fields"] = {f"tokenizer.ggml.{name}_token_id": Field(number) for name, number in header.items()}
    assert main([str(source), str(tmp_path / "model")]) == 0
    assert (tmp_path / "model" / "ends").read_text() == ends


def test_an_unknown_architecture_is_told_in_one_line(
    packages: dict[str, Any], source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packages["error"] = ValueError("GGUF model with architecture foo is not supported yet.\nmore\n")
    assert main([str(source), str(tmp_path / "model")]) == vllm_convert.EXIT_BAD_FILE
    told = capsys.readouterr().err
    assert told == "convert: transformers 5.0 cannot load it: GGUF model with architecture foo is not supported yet.\n"
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_one_part_of_several_is_refused(packages: dict[str, Any], source: Path, tmp_path: Path) -> None:
    packages["fields"] = {"split.count": Field(3)}
    assert main([str(source), str(tmp_path / "model")]) == vllm_convert.EXIT_BAD_FILE


def test_a_missing_package_is_named(
    packages: dict[str, Any],
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert main([str(source), str(tmp_path / "model")]) == vllm_convert.EXIT_NO_PACKAGE
    assert capsys.readouterr().err == "convert: a package is missing: gguf\n"


def test_what_is_no_gguf_is_refused_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "model.gguf"
    page.write_bytes(b"<!doctype html>")
    assert main([str(page), str(tmp_path / "model")]) == vllm_convert.EXIT_BAD_FILE
    assert main([str(tmp_path / "none"), str(tmp_path / "model")]) == vllm_convert.EXIT_BAD_FILE
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_nothing_is_overwritten(source: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").touch()
    assert main([str(source), str(tmp_path / "model")]) == vllm_convert.EXIT_CANNOT_WRITE
    assert main([str(source), str(tmp_path / "no" / "model")]) == vllm_convert.EXIT_CANNOT_WRITE
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["mine"]


def test_an_empty_target_is_filled(packages: dict[str, Any], source: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert main([str(source), str(tmp_path / "model")]) == 0
    assert (tmp_path / "model" / "tokenizer.json").exists()


def test_wrong_arguments_are_answered_with_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["only-one"]) == vllm_convert.EXIT_USAGE
    assert "usage" in capsys.readouterr().err
