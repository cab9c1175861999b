from __future__ import annotations

import hashlib

from provision.apply.destroy import remove_prefix
from provision.apply.state import read_state
from provision.domain.state import State
from provision.host.layout import Layout


def test_what_goes_while_the_models_stay_is_told(layout: Layout) -> None:
    for directory in (layout.engines, layout.models, layout.logs):
        directory.mkdir()
    removal = remove_prefix(layout, State("lineage"), keep_models=True)
    assert removal.removed == (str(layout.engines), str(layout.logs))
    assert layout.models.is_dir()


def test_models_that_stay_are_known_by_their_hash_where_no_state_is_left(layout: Layout) -> None:
    layout.models.mkdir()
    name = f"{hashlib.sha256(b'GGUF').hexdigest()}.gguf"
    (layout.models / name).write_bytes(b"GGUF")
    (layout.models / f"{'0' * 64}.gguf").write_bytes(b"half of it")
    (layout.models / "mine.gguf").write_bytes(b"mine")
    remove_prefix(layout, None, keep_models=True)
    state = read_state(layout)
    assert state is not None
    assert {key: (entry.kind, entry.pulled) for key, entry in state.entries.items()} == {name: ("model", True)}
    assert {path.name for path in layout.models.iterdir()} == {name, f"{'0' * 64}.gguf", "mine.gguf"}
