from __future__ import annotations

import sys
from pathlib import Path

import pytest

from provision.host import host_id as module

OWN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "known"), [(f"{OWN}\n", True), ("uninitialized\n", False), ("", False), ("\xff", False)]
)
@pytest.mark.skipif(sys.platform == "darwin", reason="Darwin keeps it elsewhere")
def test_the_id_is_a_hash_of_the_machines_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, known: bool
) -> None:
    (tmp_path / "machine-id").write_text(text, encoding="latin-1")
    monkeypatch.setattr(module, "_PLACES", (tmp_path / "none", tmp_path / "machine-id"))
    told = module.host_id()
    assert (told is not None) is known
    assert OWN not in (told or "")
    assert told == module.host_id()
