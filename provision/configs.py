"""The configuration of clients: rendered from the templates, written into the user's files, and taken back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from provision import assets
from provision.app import Fabric
from provision.errors import FabricError, UsageError, did_you_mean
from provision.plan.formats import Format, read_format

if TYPE_CHECKING:
    from provision.apply.config_files import TakenBack, Written
    from provision.domain.client_config import ClientConfig

NOT_THERE = (404, 405, 501)  # what servers answer where they know no such path
_REFUSED = ("it refuses the key", "See that the key is right: `fabric up --api-key-env NAME` reads it anew.")
_NOT_NOW = ("it cannot answer now", "Try again later.")
# Says nothing of the path. llama.cpp answers a body that it does not like with 500.
_NO_ANSWER = {**dict.fromkeys((401, 403), _REFUSED), **dict.fromkeys((429, 502, 503, 504), _NOT_NOW)}
ASK_S = 20.0
_ANYWAY = b"Unexpected endpoint"  # LM Studio says this, with the status 200


@dataclass
class Configs:
    """Everything that ``fabric config`` can do."""

    fabric: Fabric

    @cached_property
    def formats(self) -> dict[str, Format]:
        """Every format by its name, which is that of its template."""
        return {name: read_format(name, assets.template(name)) for name in assets.templates()}

    def rendered(self, name: str) -> tuple[str, ClientConfig]:
        """Return the text of one format, and the values in it.

        Raises ``UsageError`` for a format that does not exist, ``UnreachableError`` where the server has to be asked
        and does not run, and ``FabricError`` where it does not answer the API that the tool needs.
        """
        from provision.plan.render import render

        known = assets.templates()
        if name not in known:
            raise UsageError(f"There is no format {name!r}.{did_you_mean(name, known)}", f"Known: {', '.join(known)}.")
        template = assets.template(name)
        config = self.fabric.client_config()
        wanted = read_format(name, template)
        if wanted.needs:
            self._check(wanted, wanted.needs)
        return render(template, config), config

    def _check(self, wanted: Format, api: str) -> None:
        """Ask the server itself: what an engine answers changes with its versions."""
        answer = self.fabric.client().post(api, {}, ASK_S)
        if answer.status == 0:
            raise FabricError(f"The server did not say whether it answers {api}: {answer.error}.", "Try again.")
        if answer.status in _NO_ANSWER:
            why, what = _NO_ANSWER[answer.status]
            raise FabricError(
                f"{wanted.title} needs {api}; whether the server answers it is not known: {why} ({answer.status}).",
                what,
            )
        if answer.status in NOT_THERE or _ANYWAY in answer.body:
            others = ", ".join(name for name, each in self.formats.items() if not each.needs)
            raise FabricError(
                f"{wanted.title} needs {api}, which {self.fabric.served().engine_name} does not answer.",
                f"What works with it: {others}.",
            )

    def write(self, name: str, path: Path) -> tuple[Written, str, ClientConfig]:
        """Put one format into a file of the user's, and remember it; return what was done, and what was rendered."""
        from provision.apply.config_copies import Rendered
        from provision.apply.config_files import write
        from provision.apply.journal import Journal
        from provision.apply.user_file import writable
        from provision.changing import changing

        writable(self.fabric.layout, path)
        text, config = self.rendered(name)
        wanted, journal = self.formats[name], Journal(self.fabric.layout)
        with changing(self.fabric, "config") as state, journal.run("config"), journal.step(f"write {path}"):
            written = write(self.fabric.layout, state, path, Rendered(name, wanted.syntax, text, wanted.keep))
        if config.api_key and config.api_key in text and written.path.stat().st_mode & 0o077:
            self.fabric.progress.say(
                f"Others may read {written.path}, in which the key stands: chmod 600 {written.path}"
            )
        return written, text, config

    def undo(self, path: Path | None) -> list[TakenBack]:
        """Take back what was written into one file, or into all of them. Raises ``UsageError`` for a file without."""
        from provision.apply.config_copies import known_files
        from provision.apply.config_files import take_each_back
        from provision.apply.journal import Journal
        from provision.apply.user_file import real_path
        from provision.changing import changing

        if not self.fabric.layout.marker.exists():
            return _nothing_in(path)
        journal = Journal(self.fabric.layout)
        with changing(self.fabric, "config") as state, journal.run("config"), journal.step("take back"):
            wanted = [each for each in known_files(state) if path is None or each.path == str(real_path(path))]
            return take_each_back(self.fabric.layout, state, wanted)[0] or _nothing_in(path)


def _nothing_in(path: Path | None) -> list[TakenBack]:
    if path is not None:
        raise UsageError(f"fabric has written nothing into {path}.", "`fabric config --undo` alone takes all back.")
    return []
