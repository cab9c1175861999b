"""What the supervisor told last."""

from __future__ import annotations

import msgspec

from provision.domain.server import Runtime
from provision.host.json_document import decoded
from provision.host.layout import Layout
from provision.host.place import is_of
from provision.host.reading import read_private


def read_runtime(layout: Layout) -> Runtime | None:
    """Return what the supervisor told last; ``None`` where it never ran or its word makes no sense.

    It is ``None`` as well where that was told of another prefix, of which this one is a copy.
    """
    told = read_private(layout.runtime)
    try:
        runtime = decoded(told, Runtime) if told else None
    except msgspec.MsgspecError:
        return None
    return runtime if runtime and is_of(runtime.place, layout.prefix) else None
