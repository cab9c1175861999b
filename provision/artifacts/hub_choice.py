"""Which files of a repository make the model that was asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable

from provision.artifacts.hf_config import CONFIG
from provision.artifacts.hub_listing import HubFile, HubListing
from provision.artifacts.model_headers import PART, PICKLES, part_names, pickled
from provision.artifacts.safetensors import INDEX, SINGLE
from provision.domain.safe_name import shown
from provision.errors import FabricError, InvalidInputError, RefusedError, did_you_mean

GGUF, SAFETENSORS = ".gguf", ".safetensors"
DEFAULT_QUANTIZATION = "Q4_K_M"
MAX_SHOWN = 12
BESIDE = ("mmproj", "imatrix")  # GGUF files that belong to a model without being one
_QUANTIZATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,40}")
# What a tokenizer, a chat template or an image processor is read from: data, never a program.
_COMPANION = re.compile(
    r"(?:config|generation_config|special_tokens_map|added_tokens|vocab|chat_template|preprocessor_config|"
    r"processor_config|image_processor_config|video_preprocessor_config|quantize_config|hf_quant_config|tekken|"
    r"tokenizer|tokenizer_config)\.json|(?:vocab|merges)\.txt|chat_template\.jinja|"
    r"(?:tokenizer|spiece|sentencepiece\.bpe)\.model(?:\.v[0-9]{1,2})?|[A-Za-z0-9_-]{1,40}\.tiktoken"
)


def is_whole_repository(listing: HubListing) -> bool:
    """Tell whether the repository is a model in safetensors with its configuration.

    Raises ``RefusedError`` where the only weights are pickled, ``InvalidInputError`` where there are none.
    """
    weights = [file.path for file in _root(listing) if is_weights(file.path)]
    if weights and listing.file(CONFIG):
        return True
    if _models(listing):
        return False
    name = next((file.path for file in listing.files if _is_pickled(file.path)), None)
    if name and not weights:
        raise pickled(f"{listing.repository}: {name}")
    if any(file.path.startswith("adapter_") for file in listing.files):
        raise InvalidInputError(
            f"{listing.repository} is an adapter, not a model.", "Name the model that it was made for, or a merged one."
        )
    raise InvalidInputError(
        f"{listing.repository} holds no model that can be served: no GGUF file, and no {CONFIG} with safetensors.",
        "Look for a repository with GGUF files of the same model.",
    )


def is_weights(path: str) -> bool:
    """Tell whether a file in the root of a repository can be part of the model's weights.

    Not an adapter, and not the copy in Mistral's own layout that lies beside the usual one.
    """
    return path.endswith(SAFETENSORS) and not path.startswith(("adapter_", "consolidated"))


def choose_directory(listing: HubListing, indexed: Iterable[str] | None) -> list[HubFile]:
    """Return the files of a model in safetensors; ``indexed`` are the weights that its index names, if it has one."""
    names = {file.path for file in _root(listing) if _COMPANION.fullmatch(file.path)}
    if indexed is not None:
        names |= {INDEX, *indexed}
    elif listing.file(SINGLE):
        names.add(SINGLE)
    else:
        names |= {file.path for file in _root(listing) if is_weights(file.path)}
    absent = next((name for name in sorted(names) if listing.file(name) is None), None)
    if absent is not None:
        raise InvalidInputError(
            f"{listing.repository}: {INDEX} names {shown(absent)}, which is not in the repository.",
            "The repository is not whole; look for another one of the same model.",
        )
    return sorted((file for file in listing.files if file.path in names), key=lambda file: file.path)


def choose_gguf(listing: HubListing, wanted: str | None) -> list[HubFile]:
    """Return the parts of one GGUF model: the file or quantization ``wanted``, or the usual quantization.

    Raises ``InvalidInputError`` that lists the choices where none or several fit, and ``RefusedError`` for what is
    not data.
    """
    if wanted is not None and listing.file(wanted):
        return _parts(listing, _loadable(wanted))
    models = _models(listing)
    if wanted is None and len(models) == 1:
        return _parts(listing, models[0])
    quantization = DEFAULT_QUANTIZATION if wanted is None else wanted
    fitting = [path for path in models if _is_quantization(path, quantization)]
    if len(fitting) == 1:
        return _parts(listing, fitting[0])
    raise _not_one(listing, wanted, fitting or models)


def _not_one(listing: HubListing, wanted: str | None, choices: list[str]) -> FabricError:
    names = [*choices[:MAX_SHOWN], *(["..."] if len(choices) > MAX_SHOWN else [])]
    hint = f"Name one of: {', '.join(names)}." if choices else f"{listing.repository} has no GGUF files."
    if wanted is None:
        return InvalidInputError(
            f"{listing.repository} has {len(choices)} GGUF models, and not exactly one is {DEFAULT_QUANTIZATION}.",
            f"{hint} Such as hf:{listing.repository}:{choices[0]}",
        )
    if wanted not in choices and any(_is_quantization(path, wanted) for path in choices):
        return InvalidInputError(f"{listing.repository} has several models with {wanted}.", hint)
    near = did_you_mean(wanted, [file.path for file in listing.files])
    return InvalidInputError(f"{listing.repository} has no file {shown(wanted)}.{near}", hint)


def _parts(listing: HubListing, first: str) -> list[HubFile]:
    """Return the file, and all parts of the model where it is one of several."""
    directory, slash, name = first.rpartition("/")
    match = PART.fullmatch(name.removesuffix(GGUF))
    names = part_names(name, int(match[3])) if match else [name]
    files = [listing.file(f"{directory}{slash}{each}") for each in names]
    absent = next((each for each, file in zip(names, files, strict=True) if file is None), None)
    if absent:
        raise InvalidInputError(
            f"{listing.repository}: {absent} is missing.", "The repository is not whole; choose another file of it."
        )
    return [file for file in files if file]


def _models(listing: HubListing) -> list[str]:
    """Return the first file of every GGUF model."""
    found = []
    for file in listing.files:
        name = file.path.rpartition("/")[2]
        part = PART.fullmatch(name.removesuffix(GGUF))
        if name.endswith(GGUF) and not name.lower().startswith(BESIDE) and (part is None or int(part[2]) == 1):
            found.append(file.path)
    return sorted(found)


def _is_quantization(path: str, quantization: str) -> bool:
    """Tell whether the file's name ends with the name of the quantization, whatever the case."""
    stem = PART.sub(r"\1", path.rpartition("/")[2].removesuffix(GGUF))
    ending = rf"(?:^|[-._]){re.escape(quantization)}$"
    return bool(_QUANTIZATION.fullmatch(quantization) and re.search(ending, stem, re.IGNORECASE))


def _loadable(path: str) -> str:
    if path.endswith(GGUF):
        return path
    if _is_pickled(path):
        raise pickled(path)
    if path.endswith(".py"):
        raise RefusedError(f"{path} is a program, and programs are never fetched with a model.", "Name a GGUF file.")
    raise InvalidInputError(
        f"{path} is not a model by itself.", "Name a GGUF file, or no file for the whole repository."
    )


def _is_pickled(path: str) -> bool:
    return path.endswith(PICKLES) and "/" not in path


def _root(listing: HubListing) -> list[HubFile]:
    return [file for file in listing.files if "/" not in file.path]
