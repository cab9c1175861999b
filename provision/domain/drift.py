"""What is otherwise than it was left, each difference by its kind."""

from __future__ import annotations

from enum import Enum

from provision.domain.frozen import frozen
from provision.domain.resource import Kind


class DriftKind(str, Enum):
    """How something differs from what was set up.

    ``missing``, ``content``, ``mode``, ``owner`` and ``extra`` are about files; ``program`` is a program of others
    that we link to and that was swapped. ``process`` is a server that does not run as it should, ``generation`` one of
    an older configuration, ``address`` one that listens elsewhere.
    """

    MISSING = "missing"
    CONTENT = "content"
    MODE = "mode"
    OWNER = "owner"
    EXTRA = "extra"
    PROGRAM = "program"
    PROCESS = "process"
    GENERATION = "generation"
    ADDRESS = "address"


@frozen
class Drift:
    """One difference. ``path`` is absolute, ``None`` for what is no file; ``diff`` is a unified diff of an edit.

    ``detail`` says it in words, without a full stop. ``unread`` says that only its time tells: it is read before
    anything takes its place, and may be what it was.
    """

    kind: DriftKind
    resource: Kind
    name: str
    detail: str
    path: str | None = None
    diff: str = ""
    unread: bool = False

    @property
    def shown(self) -> str:
        """The resource by the name that users see."""
        return f"{self.resource.value}/{self.name}"

    @property
    def repaired(self) -> bool:
        """Whether ``up`` puts it right. What somebody has added stays: it may be of use to them."""
        return self.kind is not DriftKind.EXTRA
