"""Pictures in any of the forms that callers have them in."""

from __future__ import annotations

from base64 import b64decode, b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

_PICTURES = ("png", "jpg", "jpeg", "webp")


class Image:
    """A picture: its bytes, a path to it, or its bytes in base64."""

    def __init__(self, value: str | bytes | Path) -> None:
        self.value = value

    def model_dump(self, **_: Any) -> str:
        """Return it in base64. Raises ``ValueError`` for a file that is not there, and for what is no base64."""
        if isinstance(self.value, bytes):
            return b64encode(self.value).decode()
        with suppress(OSError, ValueError):  # long base64 is no path
            if Path(self.value).is_file():
                return b64encode(Path(self.value).read_bytes()).decode()
        text = str(self.value)
        if isinstance(self.value, Path) or text.rpartition(".")[2].lower() in _PICTURES:
            raise ValueError(f"There is no picture {text}: name a file that is there.")
        try:
            b64decode(text, validate=True)
        except ValueError:
            raise ValueError("An image is bytes, a path to a file, or base64: this text is neither.") from None
        return text
