"""What a generation says of its server."""

from __future__ import annotations

from provision.domain.engine import SERVER_FILE, ServerFile
from provision.host.json_document import decoded
from provision.host.layout import Layout
from provision.host.reading import read_private


def read_server_file(layout: Layout, generation: int) -> ServerFile:
    """Return what the supervisor of ``generation`` starts.

    Raises ``MsgspecError`` where it is missing or makes no sense, and what ``read_private`` raises.
    """
    return decoded(read_private(layout.generation(generation) / SERVER_FILE) or b"", ServerFile)
