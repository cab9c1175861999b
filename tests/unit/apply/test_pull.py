"""What may enter the store, whatever its place told of it beforehand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from provision.apply.pull import Intake
from provision.artifacts.fetch import Fetcher
from provision.cli.progress import ProgressOutput
from provision.domain.artifacts import PinnedFile
from provision.domain.model import Model
from provision.errors import RefusedError
from provision.host.layout import Layout
from tests.standin.selections import select_for_small_machine


class Arriving:
    """A fetcher whose files are there."""

    def __init__(self, content: dict[str, bytes]) -> None:
        self.content = content

    def files(self, files: Sequence[PinnedFile], target: Path, _: Callable[[int], None]) -> dict[str, str]:
        for file in files:
            (target / file.path).parent.mkdir(parents=True, exist_ok=True)
            (target / file.path).write_bytes(self.content[file.path])
        return {file.path: file.sha256 or "" for file in files}


def intake(prefix: Path, env: dict[str, str] | None = None) -> Intake:
    return Intake(Layout(prefix), env or {}, ProgressOutput(), threading.Event())


def repository(content: dict[str, bytes]) -> Model:
    files = tuple(PinnedFile(path, (), len(data), "0" * 64) for path, data in content.items())
    return replace(select_for_small_machine().model, source=None, sha256=None, files=files, format="safetensors")


@pytest.mark.parametrize(
    "more",
    [
        {"config.json": json.dumps({"vision_config": {"auto_map": {"AutoConfig": "x--y.Z"}}}).encode()},
        {"processor_config.json": b'{"auto_map": {"AutoProcessor": "x.Y"}}'},
        {"modeling_own.py": b"import os"},
    ],
)
def test_a_model_that_turns_out_to_carry_a_program_does_not_enter_the_store(
    tmp_path: Path, more: dict[str, bytes]
) -> None:
    content = {"config.json": b"{}", "model.safetensors": b"x", **more}
    model, fetcher = repository(content), cast("Any", Arriving(content))
    with pytest.raises(RefusedError, match=f"{model.name} carries its own program"):
        intake(tmp_path).model(model, fetcher, "wish")
    assert not (tmp_path / "models").exists()


def test_one_that_carries_none_does(tmp_path: Path) -> None:
    content = {"config.json": b"{}", "model.safetensors": b"x"}
    entry = intake(tmp_path).model(repository(content), cast("Any", Arriving(content)), "wish")
    assert (tmp_path / entry.path / "config.json").read_bytes() == b"{}"


def test_hosts_that_pip_trusts_are_trusted_for_its_index_alone(tmp_path: Path) -> None:
    fetcher: Fetcher = intake(tmp_path, {"PIP_TRUSTED_HOST": "mirror.lan"}).prepare((), 0)
    assert (fetcher.transport.trusted_hosts, fetcher.trusted_hosts) == ((), ("mirror.lan",))
