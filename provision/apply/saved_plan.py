"""A plan as a file, to be looked at by one person and carried out by another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from provision import __version__
from provision.domain.plan import Plan
from provision.errors import InvalidInputError
from provision.host.files import commit, explained, read_bounded
from provision.host.json_document import decoded

PLAN_FILE_VERSION = 1
MAX_PLAN_BYTES = 16 << 20


@dataclass(frozen=True)
class PlanFile:
    """``fabric_version`` must be ours: another one may plan differently. ``timeout_s`` is what a server may take."""

    plan: Plan
    fabric_version: str
    timeout_s: float | None = None
    version: int = PLAN_FILE_VERSION


def save(plan: Plan, path: Path, timeout_s: float | None) -> None:
    """Write ``plan`` to ``path``."""
    data = msgspec.json.encode(PlanFile(plan, __version__, timeout_s))
    with explained("saving the plan"):
        commit(path.absolute(), msgspec.json.format(data, indent=1))


def load(path: Path) -> PlanFile:
    """Read a plan. Raises ``InvalidInputError`` for what is not one, or was made by another version."""
    try:
        saved = decoded(read_bounded(path, MAX_PLAN_BYTES), PlanFile)
    except OSError as error:
        raise InvalidInputError(f"Cannot read the plan {path}: {error.strerror}.") from error
    except msgspec.MsgspecError as error:
        raise InvalidInputError(f"{path} is not a plan: {error}.", "Make one with `fabric plan --out FILE`.") from error
    if (saved.version, saved.fabric_version) != (PLAN_FILE_VERSION, __version__):
        raise InvalidInputError(
            f"{path} was made by fabric {saved.fabric_version}, this is {__version__}.", "Make a new plan."
        )
    return saved
