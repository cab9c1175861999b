"""What an Ollama that somebody else runs is asked to do: get a model. Nothing there is ever replaced or removed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from provision.apply.progress import Progress
from provision.domain.model import Model
from provision.domain.selection import Selection
from provision.errors import InvalidInputError
from provision.host.endpoint import EndpointClient
from provision.host.files import explained
from provision.host.hashed import Hashed, hash_file, note
from provision.host.layout import Layout

if TYPE_CHECKING:
    from provision.engines.ollama_answers import StreamLine
    from provision.engines.ollama_api import OllamaApi

_SHOWN_DIGITS = 12


def provide(selection: Selection, api_key: str | None, layout: Layout, progress: Progress) -> None:
    """Have the Ollama at the selection's address get the model, and return when it is there.

    It fetches the model itself, or is handed the file at the model's path. Raises what ``OllamaApi`` does, also for
    what goes wrong inside of a good answer.
    """
    from provision.engines.ollama_api import OllamaApi

    api, model = OllamaApi(EndpointClient(selection.base_url, api_key)), selection.model
    if model.path is None:
        progress.say(f"The Ollama at {selection.base_url} fetches {model.name}")
        api.pull(model.name, _Told(model.name, progress).line)
        return
    progress.say(f"Handing {model.name} to the Ollama at {selection.base_url}")
    sent = _send(api, model, progress)
    api.create(model.name, sent.sha256, _Told(model.name, progress).line)
    with explained("noting a hash"):
        note(layout.engine_state(selection.backend), sent)


def _send(api: OllamaApi, model: Model, progress: Progress) -> Hashed:
    """Send the file of a model, unless the server has it; return the file as it was hashed, by the server or here."""
    file, sha256 = Path(model.path or ""), model.sha256 or ""
    had = api.has_blob(sha256)
    with explained(f"reading {file}"):
        hashed = hash_file(file) if had else Hashed.of(file, sha256)
    if hashed.sha256 != sha256:
        raise InvalidInputError(f"{file} was changed since it was planned.", "Plan again.")
    if not had:
        api.push_blob(file, sha256, progress.transfer(model.name, model.size_bytes))
    return hashed


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
