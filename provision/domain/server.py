"""A server process and how it is."""

from __future__ import annotations

from enum import Enum

from provision.domain.frozen import frozen
from provision.domain.place import Place


class ServerState(str, Enum):
    """The states of the contract."""

    ABSENT = "absent"
    STOPPED = "stopped"
    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    DEGRADED = "degraded"
    FAILED = "failed"
    CRASH_LOOP = "crash-loop"


@frozen
class ProcessIdentity:
    """One process, for ever: a pid alone may belong to somebody else tomorrow.

    ``started`` is the kernel's start time in clock ticks since boot (Linux) or the start time in
    microseconds since the epoch (macOS); ``boot_id`` changes with every boot.
    """

    pid: int
    started: int
    boot_id: str


@frozen
class Exit:
    """How a server process ended, decoded. ``retry`` is false where a restart cannot help.

    ``lost_port`` says that somebody else had its port.
    """

    returncode: int
    reason: str
    hint: str | None = None
    retry: bool = True
    lost_port: bool = False


@frozen
class LogPlace:
    """A place in the server's log: a file, which keeps its inode when it is rotated, and an offset in bytes."""

    inode: int
    offset: int


@frozen
class SharedFile:
    """A piece of shared memory that has a name, and its inode, which a later one of the same name does not have."""

    name: str
    inode: int


INSTANCE_VARIABLE = "FABRIC_INSTANCE"


@frozen
class Runtime:
    """What the supervisor tells about its server, rewritten at every change of state.

    ``instance`` is the random id in the environment of every process of this server; ``server`` is ``None``
    between two attempts. ``stop_grace_s`` is how long the server may take to stop,
    ``log_start`` where its log begins: ``None`` where that was empty. ``shared_memory`` is what its processes made and
    were seen to use, which a server that is killed leaves behind. ``place`` is the prefix that it serves.
    """

    instance: str
    generation: int
    state: ServerState
    supervisor: ProcessIdentity
    server: ProcessIdentity | None = None
    restarts: int = 0
    last_exit: Exit | None = None
    stop_grace_s: int = 10
    log_start: LogPlace | None = None
    shared_memory: tuple[SharedFile, ...] = ()
    place: Place | None = None


@frozen
class Observation:
    """``runtime`` is ``None`` where nothing was ever started; ``detail`` says more about a bad state."""

    state: ServerState
    runtime: Runtime | None = None
    detail: str | None = None

    @property
    def pid(self) -> int | None:
        """The server's process, where there is one."""
        return self.runtime.server.pid if self.runtime and self.runtime.server else None
