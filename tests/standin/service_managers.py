"""Stand-ins for ``systemctl``, ``loginctl`` and ``launchctl``: they really start what the same files say.

What they know is kept in the directory ``$STANDIN_SERVICES``: a file with the pid for each service that runs, and
what was done, a line each, in ``calls``. Installed as programs by ``programs``.
"""

from __future__ import annotations

import os
import plistlib
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_SCRIPT = '#!/bin/sh\nexec "{python}" "{here}" {name} "$@"\n'
STOP_S = 10.0
LINGERING = "linger"  # the directory, in which ``loginctl`` marks whose services linger


def programs(place: Path) -> Path:
    """Install the stand-ins into a directory for PATH, and return it."""
    directory = place / "bin"
    directory.mkdir()
    for name in ("systemctl", "loginctl", "launchctl"):
        script = directory / name
        script.write_text(_SCRIPT.format(python=sys.executable, here=__file__, name=name), encoding="utf-8")
        script.chmod(0o755)
    return directory


def calls(known: Path) -> list[str]:
    """Return what was asked of the stand-ins so far."""
    log = known / "calls"
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


class _Services:
    """What runs, by the name of the service."""

    def __init__(self, known: Path) -> None:
        self._known = known

    def pid(self, name: str) -> int | None:
        with suppress(OSError, ValueError):
            pid = int((self._known / name).read_text(encoding="ascii"))
            if Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z":
                return pid
        return None

    def start(self, name: str, argv: list[str], log: str) -> None:
        if self.pid(name) is None:
            with Path(log).open("ab") as output:
                child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={},
                                         start_new_session=True)  # fmt: skip
            child.returncode = 0  # nobody waits for it
            (self._known / name).write_text(str(child.pid), encoding="ascii")

    def stop(self, name: str, wait_s: float = STOP_S) -> None:
        pid = self.pid(name)
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + wait_s
            while self.pid(name) and time.monotonic() < deadline:
                time.sleep(0.01)
        if self.pid(name) is None:
            (self._known / name).unlink(missing_ok=True)


def systemctl(services: _Services, words: list[str]) -> int:
    """Answer ``systemctl --user VERB [UNIT]``."""
    _, verb, *names = words
    unit = Path(os.environ["HOME"], ".config", "systemd", "user", *names[:1])
    link = unit.parent / "default.target.wants" / unit.name
    if verb in ("enable", "start") and not unit.exists():
        print(f"Failed to {verb} unit: Unit file {unit.name} does not exist.", file=sys.stderr)
        return 1
    if verb == "enable":
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(unit)
    elif verb == "disable":
        link.unlink(missing_ok=True)
    elif verb == "start":
        said = dict(line.split("=", 1) for line in unit.read_text(encoding="utf-8").splitlines() if "=" in line)
        argv = [word.replace("%%", "%") for word in shlex.split(said["ExecStart"])]
        services.start(unit.name, [argv[0].removeprefix(":"), *argv[1:]],
                       said["StandardOutput"].removeprefix("append:").replace("%%", "%"))  # fmt: skip
    elif verb == "stop":
        services.stop(unit.name)
    elif verb == "is-active":
        print("active" if services.pid(unit.name) else "inactive")
    return 0


def loginctl(_services: _Services, words: list[str]) -> int:
    """Answer ``loginctl --no-ask-password VERB``, as one that polkit lets through or, asked for, does not."""
    if "STANDIN_POLKIT" in os.environ:
        print(f"Could not {words[-1]}: Interactive authentication required.", file=sys.stderr)
        return 1
    mark = Path(os.environ["STANDIN_SERVICES"], LINGERING, "root")
    if words[-1] == "enable-linger":
        mark.parent.mkdir(exist_ok=True)
        mark.touch()
    else:
        mark.unlink()
    return 0


def launchctl(services: _Services, words: list[str]) -> int:
    """Answer the verbs of ``launchctl`` that take a service target, ``gui/UID/LABEL``, and ``bootstrap``."""
    verb, target, *rest = words
    label = target.rpartition("/")[2]
    known = Path(os.environ["STANDIN_SERVICES"])
    if verb == "bootstrap":
        said = plistlib.loads(Path(rest[0]).read_bytes())
        if (known / f"{said['Label']}.disabled").exists() or services.pid(said["Label"]):
            print("Bootstrap failed: 5: Input/output error", file=sys.stderr)
            return 5
        services.start(said["Label"], said["ProgramArguments"], said["StandardOutPath"])
    elif verb == "bootout":
        services.stop(label, wait_s=0.0 if "STANDIN_HASTE" in os.environ else STOP_S)
    elif verb == "disable":
        (known / f"{label}.disabled").touch()
    elif verb == "enable":
        (known / f"{label}.disabled").unlink(missing_ok=True)
    elif services.pid(label) is None:
        print(f'Could not find service "{label}"', file=sys.stderr)
        return 113
    return 0


def main() -> int:
    """Answer one call."""
    name, *words = sys.argv[1:]
    known = Path(os.environ["STANDIN_SERVICES"])
    with (known / "calls").open("a", encoding="utf-8") as log:
        log.write(" ".join([name, *words]) + "\n")
    answer = {"systemctl": systemctl, "loginctl": loginctl, "launchctl": launchctl}[name]
    return answer(_Services(known), words)


if __name__ == "__main__":
    sys.exit(main())
