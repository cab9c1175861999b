"""What Ollama's API answers, as values. Keys that are not named here are ignored: every version adds some."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from provision.errors import FabricError
from provision.host.endpoint import Response
from provision.host.json_document import decoded

T = TypeVar("T")


class RunningModel(msgspec.Struct, frozen=True):
    """A model that is in memory. ``context_length`` is 0 where an old server does not tell it."""

    name: str
    context_length: int = 0


class StreamLine(msgspec.Struct, frozen=True):
    """One line of a long answer: a status, how far one digest is, or an error that comes after a good beginning."""

    status: str = ""
    digest: str = ""
    total_bytes: int = msgspec.field(name="total", default=0)
    completed_bytes: int = msgspec.field(name="completed", default=0)
    error: str = ""


class _Running(msgspec.Struct, frozen=True):
    models: tuple[RunningModel, ...] | None = ()


class _Error(msgspec.Struct, frozen=True):
    error: str = ""


class BadAnswerError(FabricError):
    """The server answers, but not as Ollama does."""


def _reader(kind: type[T]) -> Callable[[bytes], T]:
    def read(data: bytes) -> T:
        try:
            return decoded(data, kind)
        except msgspec.MsgspecError as error:
            raise BadAnswerError(
                f"This is not an answer of Ollama: {data[:100].decode(errors='replace')!r} ({error}).",
                "Another program may listen at this address.",
            ) from error

    return read


read_line = _reader(StreamLine)
_read_running = _reader(_Running)


def read_running(data: bytes) -> tuple[RunningModel, ...]:
    """Return the models in memory. Raises ``BadAnswerError``."""
    return _read_running(data).models or ()


def error_text(response: Response) -> str:
    """Return what an answer says went wrong; empty where it does not say it as Ollama does."""
    try:
        return decoded(response.body, _Error).error
    except msgspec.MsgspecError:
        return ""
