"""Where everything is inside the one prefix that fabric owns.

::

    <prefix>/fabric-prefix         the prefix's id and the parents made for it; nothing is removed without it
    <prefix>/lock                  flock file; never removed while the prefix lives
    <prefix>/state.json            what was made
    <prefix>/journal.jsonl         present only while a change is under way
    <prefix>/engines/  models/     the store: named by content, never edited
    <prefix>/var/<engine>/         what an engine keeps itself
    <prefix>/python/               interpreters of engines that this machine's does not fit
    <prefix>/builds/               where engines are compiled; kept, so that a build goes on where it was stopped
    <prefix>/quarantine/           files of the store that were not what they should be, for a look at them
    <prefix>/staging/              what is being fetched or unpacked; emptied before every change
    <prefix>/partial/              what has begun to arrive; kept for the next run, dropped after two weeks
    <prefix>/gen/<n>/              rendered configuration of one generation, never edited
    <prefix>/current -> gen/<n>
    <prefix>/run/                  what the supervisor tells; 0700
    <prefix>/config-files/         what stood in the user's files that `config --write` changed, and what was added
    <prefix>/kept/                 what a person has edited or added where fabric has written something else since
    <prefix>/logs/  reports/  secrets/  home/ (HOME and caches of children)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from provision.domain.frozen import frozen
from provision.errors import UsageError

MARKER = "fabric-prefix"
NOT_UNICODE = "Use a name in UTF-8, in a UTF-8 locale (such as LC_ALL=C.UTF-8)."


@frozen
class Layout:
    """The paths below one prefix.

    ``prefix`` has no links in it: where it leads is looked up once. ``named`` is how the user wrote it.
    """

    prefix: Path
    named: Path | None = None

    @property
    def marker(self) -> Path:
        return self.prefix / MARKER

    @property
    def parents_note(self) -> str:
        """Return the name of a file above the prefix that says: what leads from there to the prefix was made for it."""
        import hashlib  # loads OpenSSL, and most commands ask for no note

        return f".llm-fabric-{hashlib.sha256(os.fsencode(self.prefix)).hexdigest()[:12]}.made"

    @property
    def lock(self) -> Path:
        return self.prefix / "lock"

    @property
    def lock_holder(self) -> Path:
        return self.prefix / "lock.holder"

    @property
    def state(self) -> Path:
        return self.prefix / "state.json"

    @property
    def journal(self) -> Path:
        return self.prefix / "journal.jsonl"

    @property
    def engines(self) -> Path:
        return self.prefix / "engines"

    @property
    def models(self) -> Path:
        return self.prefix / "models"

    def engine_state(self, engine: str) -> Path:
        """Return the directory that an engine fills itself, such as Ollama's own store, in which files are links."""
        return self.engine_states / engine

    @property
    def engine_states(self) -> Path:
        return self.prefix / "var"

    @property
    def python(self) -> Path:
        return self.prefix / "python"

    @property
    def quarantine(self) -> Path:
        return self.prefix / "quarantine"

    @property
    def builds(self) -> Path:
        return self.prefix / "builds"

    @property
    def staging(self) -> Path:
        return self.prefix / "staging"

    @property
    def partial(self) -> Path:
        return self.prefix / "partial"

    @property
    def generations(self) -> Path:
        return self.prefix / "gen"

    def generation(self, number: int) -> Path:
        """Return the directory of one generation."""
        return self.generations / str(number)

    @property
    def current(self) -> Path:
        return self.prefix / "current"

    @property
    def run(self) -> Path:
        return self.prefix / "run"

    @property
    def runtime(self) -> Path:
        return self.run / "server.json"

    @property
    def logs(self) -> Path:
        return self.prefix / "logs"

    @property
    def server_log(self) -> Path:
        return self.logs / "server.log"

    def failed_log(self, generation: int) -> Path:
        """Return where the log of a generation is kept that did not serve."""
        return self.logs / f"failed-generation-{generation}.log"

    @property
    def supervisor_log(self) -> Path:
        return self.logs / "supervisor.log"

    @property
    def server_environment(self) -> Path:
        return self.run / "environment.json"

    @property
    def reports(self) -> Path:
        return self.prefix / "reports"

    @property
    def secrets(self) -> Path:
        return self.prefix / "secrets"

    @property
    def api_key(self) -> Path:
        return self.secrets / "api-key"

    @property
    def config_files(self) -> Path:
        return self.prefix / "config-files"

    @property
    def kept(self) -> Path:
        return self.prefix / "kept"

    @property
    def child_home(self) -> Path:
        return self.prefix / "home"


def is_unicode(name: str) -> bool:
    """Tell whether a name can be written down: in the encoding of this locale, or in UTF-8, it may be no text."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def locate(option: str | None, env: Mapping[str, str]) -> Layout:
    """Find the prefix: ``--home``, else ``$FABRIC_HOME``, else the platform's user data directory.

    Raises ``UsageError`` where none of them says (HOME unset and no password entry).
    """
    chosen = option or env.get("FABRIC_HOME")
    if not chosen:
        chosen = _user_data_dir(env)
    named = Path(os.path.abspath(os.path.expanduser(chosen)))
    prefix = Path(os.path.realpath(named))
    if prefix == Path(prefix.anchor):
        raise UsageError(f"The prefix cannot be {prefix}.", "Name a directory of its own with --home DIR.")
    if not is_unicode(str(prefix)):
        raise UsageError(f"The prefix {str(prefix)!r} has bytes in its name that are no letters.", NOT_UNICODE)
    return Layout(prefix, named)


def _user_data_dir(env: Mapping[str, str]) -> str:
    home = env.get("HOME")
    if not home or not os.path.isabs(home):
        raise UsageError(
            "HOME is not set, so there is no place to install to.",
            "Say where: --home DIR, or set FABRIC_HOME.",
        )
    import platformdirs

    return platformdirs.user_data_dir("fabric", appauthor=False)
