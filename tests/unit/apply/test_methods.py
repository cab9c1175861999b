"""How an archive, or several, become one tree."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from unittest.mock import MagicMock

import pytest

from provision.apply.methods import Workshop, _provide_libraries, build_path
from provision.apply.store import engine_path
from provision.artifacts.fetch import Fetcher
from provision.artifacts.uv_program import Uv
from provision.domain.artifacts import PinnedFile
from provision.domain.engine import EngineRelease, Method
from provision.errors import RefusedError
from provision.host.layout import Layout
from provision.knowledge.engine_files import load_engine_file
from tests.standin.llama_release import Link, Tree, pack

TAG = "b11434"


class Said:
    """Keeps what is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def say(self, text: str) -> None:
        self.texts.append(text)

    def transfer(self, name: str, total_bytes: int) -> Callable[[int], None]:
        self.texts.append(f"{name}: {total_bytes}")
        return lambda _: None

    def steps(self, name: str) -> Callable[[int, int], None]:
        return lambda _, __: None


class Arriving:
    """A fetcher whose files are there."""

    def __init__(self, content: dict[str, bytes]) -> None:
        self.content = content

    def files(self, files: Sequence[PinnedFile], target: Path, _progress: Any) -> dict[str, str]:
        for file in files:
            (target / file.path).write_bytes(self.content[file.path])
        return {file.path: hashlib.sha256(self.content[file.path]).hexdigest() for file in files}


def made(tmp_path: Path, archives: Iterable[tuple[str, Tree]]) -> Path:
    """Return the tree that a release of these archives becomes, each with its own directory at the top."""
    content = {f"{top}.tar.gz": pack(tree, top) for top, tree in archives}
    release = next(each for each in load_engine_file("llamacpp").releases if each.method is Method.ARCHIVE)
    release = replace(release, files=tuple(PinnedFile(name, (), len(data), None) for name, data in content.items()))
    layout = Layout(tmp_path)
    layout.staging.mkdir()
    fetcher = cast("Fetcher", Arriving(content))
    said = Said()
    shop = Workshop(layout, fetcher, cast("Uv", None), {}, said, threading.Event(), (), 1, None)
    known = shop.make(release, layout.staging / "engine")
    assert {file.path: file.sha256 for file in known.files} == {
        name: hashlib.sha256(data).hexdigest() for name, data in content.items()
    }
    assert not any(file.verified for file in known.files), "nobody but what came has told them"
    assert [f"{name} is unverified" in " ".join(said.texts) for name in content] == [True] * len(content)
    assert [path.name for path in layout.staging.iterdir()] == ["engine"]
    return layout.staging / "engine"


def test_the_libraries_of_another_archive_lie_beside_the_program(tmp_path: Path) -> None:
    engine: Tree = {"llama-server": b"\x7fELF", "LICENSE": b"MIT", "lib/a": b"a"}
    cudart: Tree = {
        "libcudart.so": Link("libcudart.so.12"),
        "libcudart.so.12": b"\x7fELF",
        "LICENSE": b"EULA",
        "lib/b": b"b",
    }
    tree = made(tmp_path, [(f"llama-{TAG}", engine), (f"cudart-llama-{TAG}", cudart)])
    assert sorted(path.name for path in tree.iterdir()) == sorted(
        ("LICENSE", "lib", "libcudart.so", "libcudart.so.12", "llama-server")
    )
    assert (tree / "libcudart.so").read_bytes() == b"\x7fELF"
    assert (tree / "LICENSE").read_bytes() == b"MIT"
    assert sorted(path.name for path in (tree / "lib").iterdir()) == ["a", "b"]


def test_an_archive_of_another_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="llama"):
        made(tmp_path, [("..", {"llama-server": b"\x7fELF"})])
    assert not (tmp_path / "staging" / "engine").exists()


def built_for(isa: tuple[str, ...]) -> EngineRelease:
    release = next(each for each in load_engine_file("llamacpp").releases if each.method is Method.BUILD)
    return replace(release, isa=isa)


def test_what_is_compiled_for_another_processor_lies_elsewhere(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    new, old = built_for(("avx2", "avx512f")), built_for(("avx2",))
    assert engine_path(layout, new, ()) != engine_path(layout, old, ())
    assert build_path(layout, new, ()) != build_path(layout, old, ())
    assert build_path(layout, new, ()).parent == layout.builds


def test_no_name_of_a_library_leads_out_of_the_tree(tmp_path: Path) -> None:
    wheel = next(each for each in load_engine_file("llamacpp").releases if each.libraries)
    name = "../../../../home/libx.so"
    release = replace(wheel, libraries=(replace(wheel.libraries[0], name=name),))
    fetcher = MagicMock(Fetcher)
    shop = Workshop(Layout(tmp_path), fetcher, cast("Uv", None), {}, Said(), threading.Event(), (name,), 1, None)
    with pytest.raises(RefusedError, match="no path inside"):
        _provide_libraries(shop, release, tmp_path / "engine")
    fetcher.member.assert_not_called()
