"""One table of names: the catalogue, with the models of the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.domain.model import Model
from provision.errors import UsageError
from provision.knowledge.models import CatalogModel, load_catalog
from provision.select.aliases import aliases, find_row, hub_repository, ollama_name, ollama_tag
from provision.select.catalog import find_model

CATALOG = load_catalog()
OWN = """version: 1
models:
  - name: mine
    license: MIT
    tier_gb: 1
    parameters: 1.0e+9
    shape: {architecture: llama, layers: 1, heads_kv: 1, key_length: 1, value_length: 1, context_length: 1}
    engines:
      llamacpp: {reference: "hf:me/Mine-GGUF:mine-Q4_0.gguf", format: gguf, size_bytes: 1}
"""


def described(reference: str) -> Model:
    raise AssertionError(f"{reference} is asked for elsewhere")


@pytest.mark.parametrize(
    "name",
    [
        "qwen3.5-4b",
        "qwen3.5:4b",
        "Qwen/Qwen3.5-4B",
        "unsloth/Qwen3.5-4B-GGUF",
        "Qwen3.5-4B-Q4_K_M",
    ],
)
def test_a_model_of_the_catalogue_may_be_called_as_any_engine_calls_it(name: str) -> None:
    found = find_model(name, CATALOG, described)
    assert isinstance(found, CatalogModel)
    assert found.name == "qwen3.5-4b"
    assert ollama_name(name, CATALOG) == "qwen3.5:4b"


def test_every_name_leads_to_one_model() -> None:
    for row in CATALOG.models:
        for name in aliases(row.name, CATALOG):
            found = find_row(name, CATALOG)
            assert found is not None
            assert found.name == row.name, name


def test_the_users_own_models_are_in_the_table(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(OWN, encoding="utf-8")
    own = load_catalog(file)
    assert aliases("mine", own) == ("mine", "me/Mine-GGUF", "mine-Q4_0", "Mine")
    assert ollama_name("mine", own) is None, "Ollama's registry does not have it"
    assert find_row("qwen3.5:4b", own)


def test_what_nobody_calls_so_is_told_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'qwen3\.5-4b'"):
        find_model("qwen3.5-4", CATALOG, described)


def test_a_name_of_ollama_and_of_the_hub_stand_for_each_other() -> None:
    assert hub_repository("QWEN3.5:4b", CATALOG) == "Qwen/Qwen3.5-4B"
    assert ollama_tag("Qwen/Qwen3.5-4B", CATALOG) == ollama_tag("unsloth/Qwen3.5-4B-GGUF", CATALOG) == "qwen3.5:4b"
    assert hub_repository("qwen3.5-4b", CATALOG) is None, "a name of the catalogue is neither"
    assert ollama_tag("qwen3.5-4b", CATALOG) is None
    assert hub_repository("qwen3.5:27b", CATALOG) is None, "vLLM loads another model of that size"
