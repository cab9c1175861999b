from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provision.apply.store import engine_path, model_path
from provision.engines.llamacpp import LlamaCpp
from provision.host.layout import Layout
from provision.knowledge.models import load_catalog


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_the_name_of_an_engine_follows_its_content(layout: Layout) -> None:
    release = next(each for each in LlamaCpp().releases() if each.libraries)
    plain = engine_path(layout, release, ())
    assert plain == engine_path(layout, release, ())
    assert plain != engine_path(layout, release, ("libgomp.so.1",))
    assert release.wheel is not None
    other = replace(release, wheel=replace(release.wheel, sha256="0" * 64))
    assert plain != engine_path(layout, other, ())


def test_a_model_lies_under_its_hash_or_where_the_user_keeps_it(layout: Layout) -> None:
    model = load_catalog().models[0].model("llamacpp")
    assert model is not None
    assert model_path(layout, model).name == f"{model.sha256}.gguf"
    assert model_path(layout, replace(model, path="/home/me/m.gguf")) == Path("/home/me/m.gguf")
