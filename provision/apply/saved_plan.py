"""A plan as a file, to be looked at by one person and carried out by another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from pathlib import Path

import msgspec

from provision import __version__
from provision.domain.frozen import frozen
from provision.domain.plan import Plan
from provision.errors import InvalidInputError
from provision.host.files import explained
from provision.host.host_id import host_id
from provision.host.json_document import decoded
from provision.host.named_output import write_output
from provision.host.reading import read_bounded, sha256_of_file

PLAN_FILE_VERSION = 2
MAX_PLAN_BYTES = 16 << 20
PLAN_AGAIN = "Make a new one with `fabric plan --out FILE`."


@frozen
class PlanFile:
    """A plan and what it is bound to, beside the state that the plan itself names.

    ``fabric_version`` must be ours: another one may plan differently. ``host`` is the machine, ``None`` where it has
    no id. ``files`` are the SHA-256 of the spec, the lock and the user's models by their absolute paths, ``None`` of
    those that were not there. ``timeout_s`` is what a server may take.
    """

    plan: Plan
    fabric_version: str
    timeout_s: float | None = None
    host: str | None = None
    files: dict[str, str | None] = field(default_factory=dict)
    version: int = PLAN_FILE_VERSION


def save(plan: Plan, path: Path, timeout_s: float | None, files: Iterable[Path]) -> None:
    """Write ``plan`` to ``path``, bound to this machine and to ``files`` as they are now, there or not."""
    with explained("saving the plan"):
        bound = {str(file.absolute()): _sha256(file) for file in files}
        data = msgspec.json.encode(PlanFile(plan, __version__, timeout_s, host_id(), bound))
        write_output(path, msgspec.json.format(data, indent=1))


def load(path: Path) -> PlanFile:
    """Read a plan.

    Raises ``InvalidInputError`` for what is not one, was made by another version or on another machine, or from files
    that have changed since.
    """
    try:
        saved = decoded(read_bounded(path, MAX_PLAN_BYTES), PlanFile)
    except OSError as error:
        raise InvalidInputError(f"Cannot read the plan {path}: {error.strerror}.") from error
    except msgspec.MsgspecError as error:
        raise InvalidInputError(f"{path} is not a plan: {error}.", "Make one with `fabric plan --out FILE`.") from error
    if (saved.version, saved.fabric_version) != (PLAN_FILE_VERSION, __version__):
        raise InvalidInputError(f"{path} was made by fabric {saved.fabric_version}, this is {__version__}.", PLAN_AGAIN)
    if saved.host != host_id():
        raise InvalidInputError(f"{path} was made on another machine.", PLAN_AGAIN)
    changed = [name for name, sha256 in saved.files.items() if _sha256(Path(name)) != sha256]
    if changed:
        raise InvalidInputError(f"{path} does not fit any more: {changed[0]} has changed since.", PLAN_AGAIN)
    return saved


def _sha256(file: Path) -> str | None:
    return sha256_of_file(file) if file.is_file() else None
