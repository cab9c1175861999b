"""What a service manager of the user's is told, as the text of one file. Pure.

Sources: systemd.unit(5), systemd.service(5) and systemd.syntax(7); launchd.plist(5).
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path

from provision import assets
from provision.domain.frozen import frozen
from provision.domain.spec import BUILTIN, LAUNCHD, SYSTEMD
from provision.errors import UsageError

STOP_S = 60  # more than any engine takes to stop, and its supervisor after it
ID_CHARACTERS = 12
_SUPERVISOR = "provision.serve.supervisor"


@frozen
class Unit:
    """A file for one service manager: what that calls the service, where the file lies, what stands in it."""

    service: str
    name: str
    path: Path
    text: str


def enabling_link(path: Path) -> Path:
    """Return the link by which systemd knows that the unit at ``path`` starts with the user's manager."""
    return path.parent / "default.target.wants" / path.name


def supervisor_argv(prefix: Path) -> tuple[str, ...]:
    """Return the command line that supervises the server of ``prefix``, whoever runs it."""
    return (sys.executable, "-I", "-m", _SUPERVISOR, str(prefix))


def unit_for(service: str, prefix: Path, log: Path, env: Mapping[str, str]) -> Unit | None:
    """Return the file of ``service`` for the server in ``prefix``; ``None`` where fabric itself starts the supervisor.

    Its name comes from the path of the prefix: known before that is made, and another for another prefix. Nothing in
    it depends on the shell that fabric was called from, so that a second run finds it as it should be.

    Raises ``UsageError`` for a path that cannot stand in such a file, and where the home directory is not known.
    """
    if service == BUILTIN:
        return None
    words = (*supervisor_argv(prefix), str(log))
    if not all(_is_plain(word) for word in words):
        raise UsageError(
            f"No service can be made for {str(prefix)!a}: the path has control characters, or is not UTF-8.",
            "Use another --home, or --service builtin.",
        )
    identity = hashlib.sha256(str(prefix).encode()).hexdigest()[:ID_CHARACTERS]
    make = {SYSTEMD: _systemd_unit, LAUNCHD: _launchd_plist}[service]
    return make(identity, prefix, log, env)


def _is_plain(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return not any(ord(character) < 32 or ord(character) == 127 for character in word)


def _systemd_unit(identity: str, prefix: Path, log: Path, env: Mapping[str, str]) -> Unit:
    import jinja2

    name = f"fabric-{identity}.service"
    environment = jinja2.Environment(
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - each value is escaped by the filter of its format
    )
    environment.filters["systemd"] = _without_specifiers
    template = environment.from_string(assets.template("services/systemd.service"))
    program, *arguments = supervisor_argv(prefix)
    # The colon keeps systemd from replacing what looks like a variable.
    command = " ".join(map(_quoted, (f":{program}", *arguments)))
    text = template.render(name=name, prefix=prefix, log=log, command=command, stop_s=STOP_S)
    directory = Path(env.get("XDG_CONFIG_HOME") or _home(env) / ".config", "systemd", "user")
    return Unit(SYSTEMD, name, directory / name, text)


def _without_specifiers(value: object) -> str:
    return str(value).replace("%", "%%")


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_without_specifiers(escaped)}"'


def _launchd_plist(identity: str, prefix: Path, log: Path, env: Mapping[str, str]) -> Unit:
    import plistlib

    label = f"fabric.{identity}"
    document = {
        "Label": label,
        "ProgramArguments": list(supervisor_argv(prefix)),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},  # it ends with 0 where it is told to, or a new start cannot help
        "ExitTimeOut": STOP_S,
        "StandardOutPath": str(log),
        "StandardErrorPath": str(log),
        "Umask": 0o077,
    }
    path = _home(env) / "Library" / "LaunchAgents" / f"{label}.plist"
    return Unit(LAUNCHD, label, path, plistlib.dumps(document, sort_keys=False).decode())


def _home(env: Mapping[str, str]) -> Path:
    home = env.get("HOME", "")
    if not Path(home).is_absolute():
        raise UsageError("HOME is not set, so there is no place for a service.", "Set HOME, or use --service builtin.")
    return Path(home)
