"""What Ollama's API answers, as values. Keys that are not named here are ignored: every version adds some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from provision.errors import FabricError
from provision.host.endpoint import Response

T = TypeVar("T")


class ModelDetails(msgspec.Struct, frozen=True):
    """What a model is. A text is empty where the server does not know it."""

    format: str = ""
    family: str = ""
    parameter_size: str = ""
    quantization_level: str = ""


class ListedModel(msgspec.Struct, frozen=True):
    """A model that is on this server's disk; ``digest`` is the SHA-256 of its manifest."""

    name: str
    size_bytes: int = msgspec.field(name="size", default=0)
    digest: str = ""
    details: ModelDetails = ModelDetails()


class RunningModel(msgspec.Struct, frozen=True):
    """A model that is in memory. ``context_length`` is 0 where an old server does not tell it."""

    name: str
    size_bytes: int = msgspec.field(name="size", default=0)
    size_vram_bytes: int = msgspec.field(name="size_vram", default=0)
    digest: str = ""
    context_length: int = 0
    expires_at: str = ""


class ShownModel(msgspec.Struct, frozen=True):
    """What one model is made of. ``facts`` are the keys of its GGUF header."""

    details: ModelDetails = ModelDetails()
    parameters: str = ""
    template: str = ""
    license: str = ""
    capabilities: tuple[str, ...] = ()
    facts: dict[str, Any] = msgspec.field(name="model_info", default_factory=dict)


class StreamLine(msgspec.Struct, frozen=True):
    """One line of a long answer: a status, how far one digest is, or an error that comes after a good beginning."""

    status: str = ""
    digest: str = ""
    total_bytes: int = msgspec.field(name="total", default=0)
    completed_bytes: int = msgspec.field(name="completed", default=0)
    error: str = ""


class _Version(msgspec.Struct, frozen=True):
    version: str


class _Models(msgspec.Struct, frozen=True):
    models: tuple[ListedModel, ...] | None = ()


class _Running(msgspec.Struct, frozen=True):
    models: tuple[RunningModel, ...] | None = ()


class _Error(msgspec.Struct, frozen=True):
    error: str = ""


class BadAnswerError(FabricError):
    """The server answers, but not as Ollama does."""


def _reader(kind: type[T]) -> Callable[[bytes], T]:
    def read(data: bytes) -> T:
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.MsgspecError as error:
            raise BadAnswerError(
                f"This is not an answer of Ollama: {data[:100].decode(errors='replace')!r} ({error}).",
                "Another program may listen at this address.",
            ) from error

    return read


read_shown = _reader(ShownModel)
read_line = _reader(StreamLine)
_read_version = _reader(_Version)
_read_models = _reader(_Models)
_read_running = _reader(_Running)


def read_version(data: bytes) -> str:
    """Return the server's version. Raises ``BadAnswerError``."""
    return _read_version(data).version


def read_models(data: bytes) -> tuple[ListedModel, ...]:
    """Return the models on disk. Raises ``BadAnswerError``."""
    return _read_models(data).models or ()


def read_running(data: bytes) -> tuple[RunningModel, ...]:
    """Return the models in memory. Raises ``BadAnswerError``."""
    return _read_running(data).models or ()


def error_text(response: Response) -> str:
    """Return what an answer says went wrong; empty where it does not say it as Ollama does."""
    try:
        return msgspec.json.decode(response.body, type=_Error).error
    except msgspec.MsgspecError:
        return ""
