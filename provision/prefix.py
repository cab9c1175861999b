"""One prefix as it is, against what should be there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from provision.apply.drift import config_drift, server_drift, stored_drift
from provision.apply.store import converted_path, engine_path_of, model_file, model_path, paths_of
from provision.domain.drift import Drift, DriftKind
from provision.domain.engine import Method
from provision.domain.frozen import frozen
from provision.domain.model import Model
from provision.domain.resource import Kind
from provision.domain.selection import Selection
from provision.domain.server import Observation, ServerState
from provision.domain.spec import EXTERNAL
from provision.domain.state import State
from provision.engines.registry import ENGINES
from provision.host.files import explained
from provision.host.hashed import noted_hash
from provision.host.layout import Layout
from provision.host.reading import sha256_of_file
from provision.host.secret import fingerprint, stored_fingerprint
from provision.plan.desired import Paths, generation_files
from provision.serve.audit import undeclared_sockets
from provision.serve.observation import Server

if TYPE_CHECKING:  # what `status` has no use for is loaded where it is used
    from provision.domain.plan import Plan
    from provision.plan.observed import Observed


@frozen
class Prefix:
    """The directory at ``layout``; ``env`` holds the key that a selection names."""

    layout: Layout
    env: Mapping[str, str]

    def observe(self, state: State | None, selection: Selection, seen: Observation) -> Observed:
        """Return what is there of ``selection``, file by file."""
        from provision.apply.service_file import look
        from provision.plan.observed import Observed

        generation = state.generation if state else 0
        desired = self.render(selection, generation)
        current = self.layout.generation(generation)
        keys = {} if selection.is_remote else self._keys(selection)
        return Observed(
            state=state,
            server=seen.state,
            lacking={kind: why for kind, key in keys.items() if (why := self._lacking(state, key))},
            drift=tuple(self._drift(state, selection, list(chain.from_iterable(keys.values())), seen)),
            files={name: _read(current / name) for name in desired},
            desired_files=desired,
            running=seen.runtime.generation if seen.runtime else None,
            server_detail=seen.detail,
            places=self._places(selection, keys),
            unit=look(
                self.layout, self.env, state.unit if state else None, None if selection.is_remote else selection.spec
            ),
        )

    def drift(self, state: State, seen: Observation) -> tuple[Drift, ...]:
        """Return what differs from what was set up, without asking what should be: cheap enough for ``status``."""
        selection = state.selection
        return tuple(self._drift(state, selection, state.in_use, seen)) if selection else ()

    def _drift(
        self, state: State | None, selection: Selection, keys: Sequence[str], seen: Observation
    ) -> Iterator[Drift]:
        if state is None:
            return
        yield from stored_drift(self.layout, state, keys)
        if state.selection is None:
            return
        configured, key = state.selection, selection.spec.api_key_env
        yield from config_drift(self.layout, state, partial(self.render, configured, state.generation))
        if key and fingerprint(key, self.env, self.layout) != stored_fingerprint(self.layout):
            yield Drift(DriftKind.MISSING, Kind.CONFIG, selection.backend, "the stored API key is not the one wanted")
        if selection.is_remote or configured.is_remote:
            return  # nothing of its server is ours to repair
        if state.unit:
            from provision.apply.service_file import service_drift

            yield from service_drift(self.layout, self.env, state.unit, configured.spec, is_up=seen.pid is not None)
        place = self.paths(selection, state.generation).placement(selection)
        exposed = undeclared_sockets(self.layout, configured) or ()
        yield from server_drift(state, seen, ENGINES[selection.backend].why_not_arranged(selection, place), exposed)

    def _keys(self, selection: Selection) -> dict[Kind, list[str]]:
        """Return the keys of what a server of ours needs of the store."""
        engine, model = ENGINES[selection.backend], selection.model
        places = [] if model.path else [model_path(self.layout, model)]
        places += [converted_path(self.layout, engine, model)] if engine.converted(model) else []
        engine_key = engine_path_of(self.layout, selection).name
        return {Kind.ENGINE: [engine_key], Kind.MODEL: [place.name for place in places]}

    def _lacking(self, state: State | None, keys: Sequence[str]) -> str:
        from provision.plan.observed import NOT_INSTALLED

        known = state.entries if state else {}
        return "" if all(key in known for key in keys) else NOT_INSTALLED

    def _places(self, selection: Selection, keys: Mapping[Kind, Sequence[str]]) -> dict[Kind, tuple[str, ...]]:
        """Return the paths that making each resource may touch, relative to the prefix."""
        layout, release = self.layout, selection.release
        state = layout.engine_state(selection.backend)
        named = {
            Kind.ENGINE: [*(layout.engines / key for key in keys.get(Kind.ENGINE, ())), layout.child_home, layout.kept],
            Kind.MODEL: [*(layout.models / key for key in keys.get(Kind.MODEL, ())), layout.kept],
            # Those generations that are forgotten go, with the logs of those that failed.
            Kind.CONFIG: [layout.generations, layout.current, layout.kept, layout.secrets, layout.logs],
            Kind.SERVER: [layout.run, layout.logs, layout.child_home, layout.secrets, layout.current, state],
        }
        if release.method is Method.BUILD:
            named[Kind.ENGINE] += [layout.builds, layout.logs]
        if not selection.model.verified:  # it is named by the hash of what comes
            named[Kind.MODEL] = [layout.models, layout.kept]
        return {kind: tuple(str(path.relative_to(layout.prefix)) for path in paths) for kind, paths in named.items()}

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
        """Return what makes ``selection``, which was served before, the one that is served; nothing is looked up.

        What is not in the store any more is fetched again by the hashes that were recorded.
        """
        from provision.plan.diff import make_plan

        plan = make_plan(selection, self.observe(state, selection, self.server_for(state, selection)))
        return replace(plan, tried=state.tried)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")  # whatever is in it, it only has to differ
    except OSError:
        return None
