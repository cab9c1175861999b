"""Writing to a place that the user has named: it may be a link, a pipe or a device, and stays what it is."""

from __future__ import annotations

import os
from pathlib import Path

from provision.host.files import PRIVATE_FILE, commit


def write_output(path: Path, data: bytes, mode: int = PRIVATE_FILE) -> None:
    """Write ``data`` to ``path``: a file, or what a link leads to, in one step; into anything else that is there.

    A new file has ``mode``. Raises ``OSError``.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as there:
            there.write(data)
        return
    commit(Path(os.path.realpath(path)), data, mode)
