"""What is being changed right now, on disk before it happens.

One line of JSON for the run, then two for every step: ``intent`` before, ``done`` after. The file is there only
while a change is under way; found without its run, it means that the run was killed. Steps are idempotent and
work in the staging directory until one rename, so that the next run only clears the staging directory and plans
again from what it finds: the disk decides, not the journal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from provision.domain.frozen import frozen
from provision.errors import FabricError
from provision.host.files import append_synced, explained, remove_tree, sync
from provision.host.layout import Layout
from provision.host.reading import read_private


@frozen
class Interrupted:
    """A run that did not finish: what it was doing, and its last step."""

    verb: str
    pid: int
    step: str


class Journal:
    """The journal of one run; used while the lock is held."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def begin(self, verb: str) -> None:
        """Open the journal of a new run."""
        self._write({"verb": verb, "pid": os.getpid()})
        with explained("opening the journal"):
            sync(self._layout.prefix)

    @contextmanager
    def run(self, verb: str) -> Iterator[None]:
        """Keep the journal of a run on behalf of ``fabric VERB``; what it staged is cleared where it fails."""
        try:
            self.begin(verb)
            yield
        except BaseException:
            with suppress(OSError, FabricError):  # the error that is on its way matters more
                remove_tree(self._layout.staging)
                self.finish()
            raise
        self.finish()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Record a step before and after its body. A step that raises stays an intent."""
        self._write({"step": name, "phase": "intent"})
        yield
        self._write({"step": name, "phase": "done"})

    def finish(self) -> None:
        """Forget the run: everything is as the state says."""
        with explained("closing the journal"):
            self._layout.journal.unlink(missing_ok=True)
            sync(self._layout.prefix)

    def _write(self, record: dict[str, object]) -> None:
        with explained("writing the journal"):
            append_synced(self._layout.journal, json.dumps(record).encode() + b"\n")


def recover(layout: Layout) -> Interrupted | None:
    """Clear what a killed run left in staging and return what it was; ``None`` where every run finished.

    The lock is held, so whoever wrote the journal is gone.
    """
    left = read_private(layout.journal)
    with explained("clearing what an interrupted run left"):
        remove_tree(layout.staging)
        written = (layout.partial, layout.run, layout.generations, layout.secrets, layout.logs, layout.kept)
        for directory in (layout.prefix, *written):
            for staged in directory.glob(".*.tmp-*"):
                remove_tree(staged)
        layout.journal.unlink(missing_ok=True)
    return _interrupted(left) if left is not None else None


def _interrupted(journal: bytes) -> Interrupted:
    records = [record for line in journal.splitlines() if isinstance(record := _parse(line), dict)]
    head = records[0] if records else {}
    steps = [record["step"] for record in records if "step" in record]
    return Interrupted(head.get("verb", "change"), head.get("pid", 0), steps[-1] if steps else "the start")


def _parse(line: bytes) -> object:
    """Return a record, ``None`` for a line that was cut."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
