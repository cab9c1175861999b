"""From what was chosen to files that can be fetched: the looking up that needs the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from provision.domain.engine import Assets, EngineRelease
from provision.domain.frozen import frozen
from provision.domain.model import Model
from provision.domain.selection import Selection
from provision.errors import InvalidInputError, UnavailableError, UnreachableError

if TYPE_CHECKING:
    from provision.artifacts.mirrors import Mirrors
    from provision.artifacts.pip_settings import PackageSettings
    from provision.artifacts.releases import Release
    from provision.host.transport import Transport


@frozen
class Newer:
    """Which releases of a repository are taken instead of the older ones that the data files name.

    ``tags`` are some by repository; with ``newest`` it is the newest that there is.
    """

    tags: Mapping[str, str] = field(default_factory=dict)
    newest: bool = False


@frozen
class Resolver:
    """Asks the places where releases and models come from, or the ``sites`` that stand in for them.

    ``offline`` forbids that. What one of the ``known`` selections has looked up is not looked up again, nor what is
    in the store: its ``models`` by the wishes that led to them. A lock takes the
    ``newer`` releases, and names those that it got.
    """

    env: Mapping[str, str]
    sites: Mapping[str, str]
    offline: bool = False
    known: tuple[Selection, ...] = ()
    models: Mapping[str, Model] = field(default_factory=dict)
    newer: Newer | None = None

    def selection(self, selection: Selection) -> Selection:
        """Return ``selection`` with every file pinned. Raises ``UnavailableError`` for what cannot be had."""
        release, model = selection.release, selection.model
        for each in self.known:
            release = each.release if each.release.is_same(release) else release
            model = _called(each.model, model) if each.model.reference == model.reference else model
        stored = self.models.get(model.name)
        if stored is not None and stored.reference == model.reference:
            model = _called(stored, model)
        return replace(
            selection,
            release=release if release.resolved else self.release(release),
            model=model if model.resolved else self.model(model),
        )

    def release(self, release: EngineRelease) -> EngineRelease:
        """Return a release with the files of its archives."""
        from provision.artifacts.releases import checksums, pick_asset
        from provision.knowledge.wheel_sets import load_wheel_set

        if release.wheel_set is not None:
            release = replace(release, wheels=load_wheel_set(release.wheel_set))
        if release.assets is None:
            return release
        with self._looking_up(release.place, release.name, f"{release.engine} {release.version}"):
            found = self._release(release.assets)
            if release.assets.checksums:
                found = checksums(found, release.assets.checksums, self._transport)
            picked = [pick_asset(found, name) for name in release.assets.names]
            files = tuple(file for file in picked if file is not None)
            if len(files) < len(picked):
                lacking = release.assets.names[picked.index(None)]
                raise InvalidInputError(f"the release {found.tag} has no file like {lacking}")
        named = replace(release.assets, tag=found.tag) if self.newer else release.assets
        return replace(release, assets=named, files=files, version=found.tag.removeprefix("v"))

    def _release(self, assets: Assets) -> Release:
        """Return the release that is named, or a newer one; where it is gone, the newest of its kind."""
        from provision.artifacts.releases import newest_tag, resolve_release

        newer = self.newer or Newer()
        tag = newest_tag(assets.tag, newer.tags.get(assets.repository, assets.tag))
        newest = self._newest(assets) if newer.newest else None
        if newest is not None and newest_tag(newest.tag, tag) == newest.tag:
            return newest
        try:
            return resolve_release(assets.repository, tag, self._mirrors, self._transport, self.env)
        except InvalidInputError:
            newest = newest or self._newest(assets)
            if newest is None:
                raise
            return newest

    def _newest(self, assets: Assets) -> Release | None:
        """Return the newest release that has all files; ``None`` where there is none, or none may stand in."""
        from provision.artifacts.releases import newest_release

        if assets.tags is None:
            return None
        with suppress(InvalidInputError):
            return newest_release(
                assets.repository, assets.tags, self._mirrors, self._transport, self.env, names=assets.names
            )
        return None

    def model(self, model: Model) -> Model:
        """Return a model of the catalogue with its files; what it is called and how it is described stays."""
        with self._looking_up(model.place, model.reference, f"the model {model.name}"):
            found = self.describe(model.reference)
        return _called(found, model)

    def describe(self, reference: str) -> Model:
        """Return the model that a reference names: files that are here, or what its place says of it.

        Raises ``UsageError`` for what is no reference, ``InvalidInputError`` for what is not there or no model,
        ``UnreachableError`` where its place does not answer, ``RefusedError`` for what must not be loaded.
        """
        from provision.domain.reference import FileReference, WheelReference, parse_reference

        for each in self.known:
            if each.spec.model == reference and each.model.resolved and not each.model.path:
                return each.model
        parsed = parse_reference(reference)
        if reference in self.models:
            return self.models[reference]
        if isinstance(parsed, FileReference):
            from provision.artifacts.local_model import describe

            return describe(parsed.path)
        if self.offline:
            raise UnreachableError(f"{reference} is not known here, and --offline was given.", _ONLINE)
        if isinstance(parsed, WheelReference):
            from provision.artifacts.wheel_model import describe_wheel

            return describe_wheel(parsed, self.env, self._index_transport)
        from provision.artifacts.remote_model import describe_remote

        return describe_remote(parsed, self._mirrors, self._transport, self.env)

    @contextmanager
    def _looking_up(self, place: str, what: str, named: str) -> Iterator[None]:
        """Say of a failure which place, or which single thing, is of no use."""
        if self.offline:
            raise UnavailableError(what, f"{named} is not known here, and --offline was given.", _ONLINE)
        try:
            yield
        except UnreachableError as error:
            message = f"Cannot look up {named}: {error.message}"
            raise UnavailableError(place, message, error.hint, is_place=True) from error
        except InvalidInputError as error:
            raise UnavailableError(what, f"Cannot have {named}: {error.message}", error.hint) from error

    @cached_property
    def _mirrors(self) -> Mirrors:
        from provision.artifacts.mirrors import choose_mirrors

        return choose_mirrors(self.sites, self.env)

    @cached_property
    def _transport(self) -> Transport:
        from provision.artifacts.pip_settings import uv_environment
        from provision.host.transport import Transport

        return Transport({**self.env, **uv_environment(self._settings, self.env)}, self._settings.certificate)

    @cached_property
    def _index_transport(self) -> Transport:
        """How the package index is reached, and nothing else: pip's trusted hosts may be asked by http."""
        return replace(self._transport, trusted_hosts=self._settings.trusted_hosts)

    @cached_property
    def _settings(self) -> PackageSettings:
        from provision.artifacts.pip_settings import read_local

        return read_local(self.env)


_ONLINE = "Run once without --offline."


def _called(found: Model, model: Model) -> Model:
    """Return the files that were ``found``, called and described as ``model`` is, whatever led to them before."""
    return replace(found, name=model.name, license=model.license or found.license, parsers=model.parsers)
