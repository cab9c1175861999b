"""What an Ollama that somebody else runs is asked to do: fetch a model. Nothing there is ever removed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provision.apply.progress import Progress
from provision.domain.selection import Selection
from provision.host.endpoint import EndpointClient

if TYPE_CHECKING:
    from provision.engines.ollama_answers import StreamLine

_SHOWN_DIGITS = 12


def pull(selection: Selection, api_key: str | None, progress: Progress) -> None:
    """Have the Ollama at the selection's address fetch the model, and return when it is there.

    Raises what ``OllamaApi.pull`` does, also for what goes wrong inside of a good answer.
    """
    from provision.engines.ollama_api import OllamaApi

    name = selection.model.name
    progress.say(f"The Ollama at {selection.base_url} fetches {name}")
    OllamaApi(EndpointClient(selection.base_url, api_key)).pull(name, _Told(name, progress).line)


@dataclass
class _Told:
    """Tells a person what the lines of a pull say, each file as a transfer of its own."""

    name: str
    progress: Progress
    _status: str = ""
    _arrived: dict[str, Callable[[int], None]] = field(default_factory=dict)
    _bytes: dict[str, int] = field(default_factory=dict)

    def line(self, line: StreamLine) -> None:
        if line.digest and line.total_bytes:
            self._transfer(line.digest, line.total_bytes, line.completed_bytes)
        elif line.status and line.status != self._status:
            self.progress.say(f"{self.name}: {line.status}")
        self._status = line.status

    def _transfer(self, digest: str, total_bytes: int, completed_bytes: int) -> None:
        if digest not in self._arrived:
            shown = digest.partition(":")[2][:_SHOWN_DIGITS]
            self._arrived[digest] = self.progress.transfer(f"{self.name} {shown}", total_bytes)
        step = completed_bytes - self._bytes.get(digest, 0)
        if step > 0:
            self._bytes[digest] = completed_bytes
            self._arrived[digest](step)
