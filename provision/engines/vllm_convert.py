"""Turn a GGUF file into the directory that vLLM serves: configuration, weights, tokenizer with its chat template.

Run by vLLM's own interpreter, so nothing but the standard library, transformers, torch and gguf can be imported here.

    convert.py GGUF_FILE TARGET_DIRECTORY

Reads nothing but the file and never asks the network. The same file and the same versions give the same bytes.
Weights become bfloat16: vLLM's processor kernels compute in it, it takes every value that a GGUF can hold (float16
overflows at 65504), and what it rounds away is less than the file's quantization has taken already.

Ends with 65 where the file cannot be converted and with 73 where the directory cannot be written; stderr says why in
one line.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

EXIT_USAGE, EXIT_BAD_FILE, EXIT_NO_PACKAGE, EXIT_CANNOT_WRITE = 64, 65, 69, 73
MAGIC = b"GGUF"
END_OF_TURN = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")
FILE_MODE = 0o644


class ConversionError(Exception):
    """Why the file becomes no directory, and the exit status that says so."""

    def __init__(self, reason: str, status: int = EXIT_BAD_FILE) -> None:
        super().__init__(reason)
        self.status = status


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    if len(arguments) != 2:
        print("usage: convert.py GGUF_FILE TARGET_DIRECTORY", file=sys.stderr)
        return EXIT_USAGE
    try:
        convert(Path(arguments[0]), Path(arguments[1]))
    except ConversionError as error:
        print(f"convert: {error}", file=sys.stderr)
        return error.status
    return 0


def convert(source: Path, target: Path) -> None:
    """Write ``target``, which must be missing or empty; it is left empty or missing if this fails."""
    check_source(source)
    check_target(target)
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1", TQDM_DISABLE="1")
    with tempfile.TemporaryDirectory(prefix=".convert-", dir=target.parent) as work:
        made = Path(work) / "made"
        made.mkdir()
        named = Path(work) / "model.gguf"  # transformers goes by the ending
        named.symlink_to(source.resolve())
        try:
            write_model(named, made)
        except OSError as error:
            raise ConversionError(f"cannot write: {error.strerror or error}", EXIT_CANNOT_WRITE) from error
        publish(made, target)
    tell("done")


def check_source(source: Path) -> None:
    """Raise ``ConversionError`` for what cannot be read or is no GGUF file."""
    try:
        with source.open("rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as error:
        raise ConversionError(f"cannot read {source}: {error.strerror}") from error
    if magic != MAGIC:
        raise ConversionError(f"{source} is not a GGUF file")


def check_target(target: Path) -> None:
    """Raise ``ConversionError`` where something would be overwritten."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConversionError(f"{target} is there already and not empty", EXIT_CANNOT_WRITE)
    if not target.parent.is_dir():
        raise ConversionError(f"{target.parent} is not a directory", EXIT_CANNOT_WRITE)


def write_model(gguf: Path, directory: Path) -> None:
    """Write everything into ``directory``. Raises ``ConversionError``, and ``OSError`` where it cannot be written."""
    torch, transformers = load_packages()
    tell("reading the header")
    stop_ids = end_of_turn_tokens(gguf)
    place: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, **place)
        tell("unpacking the weights to bfloat16")
        model = transformers.AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            dtype=torch.bfloat16,
            quantization_config=transformers.GgufConfig(dequantize=True),  # packed ones could not be saved
            **place,
        )
    except (ValueError, KeyError, NotImplementedError, RuntimeError, AttributeError, TypeError) as error:
        raise ConversionError(f"transformers {transformers.__version__} cannot load it: {one_line(error)}") from error
    if stop_ids:
        model.generation_config.eos_token_id = stop_ids if len(stop_ids) > 1 else stop_ids[0]
    tell(f"writing {model.num_parameters()} parameters")
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def load_packages() -> tuple[Any, Any]:
    """Return torch and transformers, quiet."""
    try:
        import accelerate  # noqa: F401  # transformers asks for it when it reads a GGUF
        import gguf  # noqa: F401
        import torch
        import transformers
    except ImportError as error:
        raise ConversionError(f"a package is missing: {error.name}", EXIT_NO_PACKAGE) from error
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return torch, transformers


def end_of_turn_tokens(gguf: Path) -> list[int]:
    """Return every token that ends an answer, the ordinary end first; transformers knows only that one."""
    from gguf import GGUFReader

    try:
        fields = GGUFReader(gguf).fields
    except (ValueError, KeyError, IndexError, OverflowError, UnicodeDecodeError) as error:
        raise ConversionError(f"the file is damaged: {one_line(error)}") from error
    if "split.count" in fields and int(fields["split.count"].contents()) > 1:
        raise ConversionError("it is one part of several; only a model in one file can be converted")
    return list(dict.fromkeys(int(fields[name].contents()) for name in END_OF_TURN if name in fields))


def publish(made: Path, target: Path) -> None:
    """Put the finished directory in its place."""
    try:
        for path in made.iterdir():
            path.chmod(FILE_MODE)
        if target.exists():
            target.rmdir()
        shutil.move(made, target)
    except OSError as error:
        raise ConversionError(f"cannot write {target}: {error.strerror}", EXIT_CANNOT_WRITE) from error


def one_line(error: Exception) -> str:
    """Return the first line of what ``error`` says, or its kind."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def tell(what: str) -> None:
    """Say how far it is."""
    print(f"convert: {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
