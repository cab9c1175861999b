from __future__ import annotations

from pathlib import Path

import pytest

from provision.engines.llamacpp_program import ServerVersion, parse_version

SAMPLE = Path(__file__).parents[2] / "samples" / "llama-server" / "version_0.5.0-dev.txt"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (SAMPLE.read_text(encoding="utf-8"), ServerVersion(1, "0c1e570", "0.5.0-dev")),
        ("version: 0.6.0 (build 11434, commit abc1234)\nbuilt with x", ServerVersion(11434, "abc1234", "0.6.0")),
        ("version: 4719 (d7b31a9d)\nbuilt with cc for linux\n", ServerVersion(4719, "d7b31a9d")),
        ("load_backend: loaded CPU backend\nversion: 6469 (5c1e22d)\n", ServerVersion(6469, "5c1e22d")),
        ("version: 0 (unknown)\r\n", ServerVersion(0, None)),
        ("version: 0.5.0-dev (build 0, commit unknown)", ServerVersion(0, None, "0.5.0-dev")),
    ],
)
def test_both_forms_of_the_version(text: str, version: ServerVersion) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize("text", ["", "version: 1.2.3", "llama-server 0.5.0", "my version: 1 (abc)", "version: x (y)"])
def test_another_program_has_no_version(text: str) -> None:
    assert parse_version(text) is None
