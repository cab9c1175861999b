"""One prefix as it is, against what should be there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from provision.apply.records import why_damaged
from provision.apply.service_file import look
from provision.apply.store import converted_path, engine_path_of, model_file, model_path, paths_of
from provision.domain.model import Model
from provision.domain.plan import Plan
from provision.domain.selection import Selection
from provision.domain.server import Observation, ServerState
from provision.domain.spec import EXTERNAL
from provision.domain.state import State
from provision.engines.registry import ENGINES
from provision.host.files import explained, sha256_of_file
from provision.host.hashed import noted_hash
from provision.host.layout import Layout
from provision.host.secret import fingerprint, stored_fingerprint
from provision.plan.desired import Paths, generation_files
from provision.plan.diff import make_plan
from provision.plan.observed import Observed
from provision.serve.observation import Server

_KEY = "the stored API key"


@dataclass(frozen=True)
class Prefix:
    """The directory at ``layout``; ``env`` holds the key that a selection names."""

    layout: Layout
    env: Mapping[str, str]

    def observe(self, state: State | None, selection: Selection, seen: Observation) -> Observed:
        """Return what is there of ``selection``, file by file."""
        engine = engine_path_of(self.layout, selection)
        generation = state.generation if state else 0
        desired = self.render(selection, generation)
        current = self.layout.generation(generation)
        files = {name: _read(current / name) for name in desired}
        if selection.spec.api_key_env:  # in no file of the generation, and has to be where it is read all the same
            desired[_KEY] = fingerprint(selection.spec.api_key_env, self.env, self.layout) or ""
            files[_KEY] = stored_fingerprint(self.layout)
        model_damage = "" if selection.is_remote else self._model_damage(state, selection)
        place = self.paths(selection, generation).placement(selection)
        return Observed(
            state=state,
            engine_damage="" if selection.is_remote else self._damage(state, engine),
            model_damage=model_damage,
            arranged_damage=model_damage or ENGINES[selection.backend].why_not_arranged(selection, place),
            server=seen.state,
            files=files,
            desired_files=desired,
            running=seen.runtime.generation if seen.runtime else None,
            server_detail=seen.detail,
            unit=look(
                self.layout, self.env, state.unit if state else None, None if selection.is_remote else selection.spec
            ),
        )

    def _model_damage(self, state: State | None, selection: Selection) -> str:
        """Return what is missing or wrong of the model, or of the form of it that the engine loads."""
        engine, model = ENGINES[selection.backend], selection.model
        places = [] if model.path else [model_path(self.layout, model)]
        places += [converted_path(self.layout, engine, model)] if engine.converted(model) else []
        return next((why for place in places if (why := self._damage(state, place))), "")

    def _damage(self, state: State | None, place: Path) -> str:
        return why_damaged(self.layout, state.entries.get(place.name) if state else None)

    def render(self, selection: Selection, generation: int) -> dict[str, str]:
        """Return the files of one generation."""
        paths = self.paths(selection, generation)
        key = fingerprint(selection.spec.api_key_env, self.env, self.layout)
        return generation_files(selection, ENGINES[selection.backend], paths, key)

    def paths(self, selection: Selection, generation: int) -> Paths:
        """Return where the parts of one generation lie."""
        return paths_of(self.layout, ENGINES[selection.backend], selection, generation)

    def model_file_of(self, state: State | None, wish: str) -> Model | None:
        """Return the model that a wish means with its path and hash: a file of the user's, or one of the store.

        ``None`` where it is neither. Raises ``InvalidInputError`` for a file that is no model.
        """
        stored = state.known_models.get(wish) if state else None
        if stored is not None:
            known = stored.sha256 or next((file.sha256 for file in stored.files), None)
            return replace(stored, path=str(model_file(self.layout, stored)), sha256=known)
        if not wish.startswith("file:"):
            return None
        from provision.artifacts.local_model import describe

        model = describe(wish.partition(":")[2])
        if model.format != "gguf" or model.is_split or model.path is None:
            return model
        place = Path(model.path)
        with explained(f"reading {place}"):
            return replace(model, sha256=noted_hash(self.layout.engine_state(EXTERNAL), place) or sha256_of_file(place))

    def server_for(self, state: State | None, wanted: Selection) -> Observation:
        """Return how the server of this prefix is before ``wanted``; what somebody else runs is not it."""
        previous = state.selection if state else None
        if previous is not None and not previous.is_remote and not wanted.is_remote:
            return Server(self.layout, previous).observe()
        ours = Server(self.layout, None)
        return Observation(ServerState.STOPPED, ours.runtime() if ours.is_ours_running() else None)

    def plan_back(self, selection: Selection, state: State) -> Plan:
        """Return what makes ``selection``, which was served before, the one that is served; nothing is looked up."""
        plan = make_plan(selection, self.observe(state, selection, self.server_for(state, selection)))
        return replace(plan, tried=state.tried)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")  # whatever is in it, it only has to differ
    except OSError:
        return None
