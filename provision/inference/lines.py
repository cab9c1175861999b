"""Documents that come as lines of JSON. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from provision.client.errors import AnswerError
from provision.host.server_said import server_said


class LineSplitter:
    """Takes bytes as they arrive; where the pieces begin and end makes no difference. ``where`` names the server."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._rest = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Return the documents that are whole now. Raises ``AnswerError`` for a line that is none."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [read_object(line, self._where) for line in lines if line.strip()]

    def close(self) -> list[dict[str, Any]]:
        """Return the last document, if no line break ended it."""
        return self.feed(b"\n")


def read_object(data: bytes, where: str) -> dict[str, Any]:
    """Return a JSON object. Raises ``AnswerError`` for anything else."""
    try:
        document: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
        return document
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise AnswerError(
            f"What {where} sends is no JSON object: {server_said(data)}", "Check that the address is the right one."
        ) from error
