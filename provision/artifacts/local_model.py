"""A GGUF file of the user's: described from its header, used where it lies."""

from __future__ import annotations

from pathlib import Path

from provision.artifacts.gguf import read_header
from provision.domain.model import Model
from provision.errors import InvalidInputError


def describe(path: str) -> Model:
    """Return the model in the file at ``path``. Raises ``InvalidInputError`` where it is not a whole GGUF file."""
    file = Path(path).expanduser().absolute()
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            header = read_header(opened, size)
    except OSError as error:
        raise InvalidInputError(f"Cannot read the model file {file}: {error.strerror}.", "Check the path.") from error
    except InvalidInputError as error:
        raise InvalidInputError(f"{file.name}: {error.message}", error.hint) from error
    return Model(
        name=file.stem,
        reference=f"file:{file}",
        format="gguf",
        quantization=header.quantization,
        size_bytes=size,
        sha256=None,
        shape=header.shape(),
        path=str(file),
        license=header.keys.get("general.license"),
    )
