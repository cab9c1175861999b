"""Models on which the stand-in engine does what a piece of Python says, before it listens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.e2e.test_rollback import model_file
from tests.faults.oracle import WISH


@dataclass(frozen=True)
class ScriptedModel:
    """A model file of the user's, and the script beside it. The script finds its own directory in ``PLACE``."""

    file: Path

    @property
    def wish(self) -> tuple[str, ...]:
        """The words that ask for it."""
        return (*WISH, "--model", f"file:{self.file}")

    @property
    def place(self) -> Path:
        return self.file.parent

    def behave(self) -> None:
        """From the next start on, do nothing but serve."""
        self.file.with_name(f"{self.file.name}.script").unlink(missing_ok=True)


def scripted_model(tmp_path: Path, script: str) -> ScriptedModel:
    """Make one beside the directory of the test, where nobody looks for what was left."""
    place = tmp_path.with_name(f"{tmp_path.name}-model")
    place.mkdir()
    model = model_file(place, "scripted.gguf", trouble=None)
    text = f"PLACE = {str(place)!r}\n{script}\n"
    model.with_name(f"{model.name}.script").write_text(text, encoding="utf-8")
    return ScriptedModel(model)
