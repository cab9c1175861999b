"""What is resolved stays what it was called and known for."""

from __future__ import annotations

from dataclasses import replace

from provision.artifacts.resolve import Resolver
from provision.domain.model import Model, ModelShape, Parsers

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
