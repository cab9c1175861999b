"""Ollama: its own program and server, with a directory of models that holds links into the store."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from provision.domain.engine import EngineRelease, Health, Launch, Trial
from provision.domain.ollama_name import names_match
from provision.domain.selection import Selection
from provision.domain.spec import AUTO
from provision.engines.engine import Engine, Placement
from provision.knowledge.advisories import why_refused
from provision.knowledge.engine_files import load_engine_file
from provision.knowledge.versions import older

FOR_EVER = -1
VERSION_TEXT = "version.txt"
MODELS = "models"
RUNNER = "llama-server"  # which the program starts for every model, since
PROGRAM_PLACES = ("bin/ollama", "ollama")  # Linux has it in bin, macOS at the top of the archive
RUNNER_PLACES = ("../lib/ollama", "lib/ollama", ".")  # from the program, links resolved
# What the program says of itself comes second where a server answers as well, and alone where none does.
_VERSION = re.compile(r"^(?:Warning: client|ollama) version is ([0-9]+\.[0-9]+\.[0-9]+)", re.MULTILINE)
_MASKS = {"cpu": {"CUDA_VISIBLE_DEVICES": "-1", "ROCR_VISIBLE_DEVICES": "-1", "OLLAMA_VULKAN": "0"}}


class Ollama(Engine):
    """See ``Engine``.

    The server never fetches anything: files come through fabric, checked, and are linked into ``place.state``.
    """

    name = "ollama"
    health = Health("/api/version")

    def program(self, release: EngineRelease, engine: Path) -> Path | None:
        return Path(_program(release, engine))

    def preflight(self, release: EngineRelease, engine: Path, generation: Path) -> Sequence[Trial]:
        return [Trial(self.asked_version(_program(release, engine), generation), VERSION_TEXT)]

    def asked_version(self, program: str, home: Path) -> Launch:
        return Launch((program, "--version"), _nobody(home))

    def launch(self, selection: Selection, place: Placement) -> Launch:
        """The context is set always: left open, it follows the GPU's memory, and what is longer is cut in silence."""
        spec = selection.spec
        host = f"[{selection.host}]" if ":" in selection.host else selection.host
        env = {
            "HOME": str(place.state),
            "OLLAMA_HOST": f"{host}:{selection.port}",
            "OLLAMA_MODELS": str(models_directory(place)),
            "OLLAMA_CONTEXT_LENGTH": str(selection.context),
            "OLLAMA_NUM_PARALLEL": str(selection.parallel),
            "OLLAMA_KEEP_ALIVE": str(FOR_EVER if spec.keep_alive is None else spec.keep_alive),
            "OLLAMA_MAX_LOADED_MODELS": "1",
            "OLLAMA_NOPRUNE": "1",
            "OLLAMA_NO_CLOUD": "1",
            "OLLAMA_ORIGINS": "http://localhost",
            **_MASKS.get(selection.acceleration, {}),
        }
        if spec.kv_cache != AUTO:
            env |= {"OLLAMA_KV_CACHE_TYPE": spec.kv_cache, "OLLAMA_FLASH_ATTENTION": "1"}
        return Launch((_program(selection.release, place.engine), "serve"), env)

    def arrange(self, selection: Selection, place: Placement) -> None:
        from provision.engines.ollama_arrange import arrange

        arrange(models_directory(place), selection.model, place.model)

    def let_go(self, state: Path) -> None:
        from provision.host.files import remove_tree

        remove_tree(state / MODELS)

    def why_not_arranged(self, selection: Selection, place: Placement) -> str:
        from provision.engines.ollama_arrange import why_not_arranged

        return why_not_arranged(models_directory(place), selection.model, place.model)

    def broken_promise(self, selection: Selection, ask: Callable[[str], bytes]) -> str:
        """The server may shorten the context and go on: then it forgets the beginning of what it is told."""
        from provision.engines.ollama_answers import read_running

        running = (each for each in read_running(ask("/api/ps")) if names_match(each.name, selection.model.name))
        got = next((each.context_length for each in running), 0)
        if 0 < got < selection.context:
            return f"gives the model a context of {got} tokens instead of {selection.context}"
        return ""

    def why_unfit(self, selection: Selection, engine: Path) -> str:
        """A program alone starts, answers and cannot run any model."""
        version, oldest = self.said_version(engine), load_engine_file(self.name).oldest_version
        if version is None:
            return "what it says of its version is not what Ollama says"
        if oldest and older(version, oldest):
            return f"its version {version} is too old: {oldest} is the first that heeds a model's own chat template"
        if refused := why_refused(self.name, version):
            return f"its version {version} {refused}"
        program = Path(_program(selection.release, engine)).resolve()
        places = [program.parent / place / RUNNER for place in RUNNER_PLACES]
        if any(place.is_file() for place in places):
            return ""
        return f"it is not whole: there is no {RUNNER} at {' or '.join(str(place.parent) for place in places)}"

    def said_version(self, engine: Path) -> str | None:
        return self.read_version((engine / VERSION_TEXT).read_text(encoding="utf-8", errors="replace"))

    def read_version(self, said: str) -> str | None:
        versions = _VERSION.findall(said)
        return str(versions[-1]) if versions else None

    def serves(self, listed: Sequence[object], name: str) -> bool:
        return any(isinstance(each, str) and names_match(each, name) for each in listed)


def models_directory(place: Placement) -> Path:
    """Return what Ollama is told as OLLAMA_MODELS."""
    return place.state / MODELS


def _program(release: EngineRelease, engine: Path) -> str:
    if release.path:
        return str(engine / Path(release.path).name)
    places = [engine / place for place in PROGRAM_PLACES]
    return str(next((place for place in places if place.exists()), places[0]))


def _nobody(directory: Path) -> dict[str, str]:
    """Return an environment in which no server of the user's is asked, and no key is made in their home."""
    return {"OLLAMA_HOST": "127.0.0.1:9", "HOME": str(directory)}
