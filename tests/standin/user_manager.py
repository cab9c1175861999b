"""systemd's real manager of the user, as an ordinary process, with nothing of it left afterwards.

It gets a cgroup, a runtime directory and a ``/run`` of its own, so that the system's own are not touched and systemd
need not be what this machine was booted with. That takes root, and a cgroup hierarchy that may be written to.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SYSTEMD = Path("/usr/lib/systemd/systemd")
_CGROUPS = Path("/sys/fs/cgroup")
_HIERARCHIES = (_CGROUPS, _CGROUPS / "unified", _CGROUPS / "systemd")  # v2 alone, or beside v1 (hybrid)
START_S, END_S = 20.0, 10.0
_ENTER = """
for place in {cgroups}; do echo $$ > "$place/cgroup.procs"; done
exec unshare --mount sh -c '
  mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system &&
  mount -t tmpfs tmpfs /var/lib/systemd && mkdir /var/lib/systemd/linger &&
  exec {systemd} --user --unit=basic.target'
"""


@dataclass(frozen=True)
class UserManager:
    """A manager that runs: its process, what it is reached by, and the beginning of a command line that sees it."""

    pid: int
    runtime_dir: Path
    entering: tuple[str, ...]

    def systemctl(self, *words: str) -> str:
        """Ask the manager; what it answers, on either output."""
        argv = [*self.entering, "systemctl", "--user", *words]
        env = {"XDG_RUNTIME_DIR": str(self.runtime_dir), "PATH": os.environ["PATH"]}
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=60)
        return (done.stdout + done.stderr).strip()


def why_not() -> str | None:
    """Return why there can be no manager here; ``None`` where there can."""
    if os.geteuid() != 0:
        return "a user manager in a cgroup of its own takes root"
    missing = [name for name in ("systemctl", "unshare", "nsenter", "mount") if shutil.which(name) is None]
    if missing or not SYSTEMD.exists():
        return f"{', '.join(missing) or SYSTEMD} is not here (Debian: systemd, util-linux)"
    if not any(os.access(place / "cgroup.procs", os.W_OK) for place in _HIERARCHIES):
        return "no cgroup hierarchy can be written to"
    return None


@contextmanager
def running(place: Path, home: Path) -> Iterator[UserManager]:
    """Run a manager for the body; raise ``OSError`` where it does not come up. Its units end with it."""
    runtime_dir = place / "run"
    runtime_dir.mkdir(mode=0o700)
    cgroups = [each / f"fabric-test-{os.getpid()}" for each in _HIERARCHIES if (each / "cgroup.procs").exists()]
    for cgroup in cgroups:
        cgroup.mkdir(exist_ok=True)
    script = _ENTER.format(cgroups=" ".join(map(str, cgroups)), systemd=SYSTEMD)
    env = {"HOME": str(home), "XDG_RUNTIME_DIR": str(runtime_dir), "PATH": os.environ["PATH"]}
    log = place / "manager.log"
    try:
        with log.open("wb") as output:
            argv = ["sh", "-c", script]
            child = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            _wait_for(runtime_dir / "systemd" / "private", child, log)
            entering = ("nsenter", f"--mount=/proc/{child.pid}/ns/mnt", f"--wd={home}")
            yield UserManager(child.pid, runtime_dir, entering)
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(END_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
    finally:
        for cgroup in cgroups:
            _remove(cgroup)


def _wait_for(socket: Path, child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not socket.exists():
        if child.poll() is not None or time.monotonic() > deadline:
            raise OSError(f"no user manager: {log.read_text(encoding='utf-8').strip()}")
        time.sleep(0.02)


def _remove(cgroup: Path) -> None:
    """End what is left in a cgroup, and remove it with those below."""
    for directory, _, _ in os.walk(cgroup, topdown=False):
        for pid in Path(directory, "cgroup.procs").read_text(encoding="ascii").split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        for _ in range(50):
            with suppress(OSError):
                Path(directory).rmdir()
                break
            time.sleep(0.02)
