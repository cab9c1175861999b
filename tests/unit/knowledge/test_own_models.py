"""The user's own file of models, merged over the catalogue by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec import to_builtins

from provision.errors import InvalidInputError
from provision.knowledge.models import Catalog, load_catalog


def row(**changes: Any) -> dict[str, Any]:
    """A row of the shipped catalogue, as a user would copy it."""
    made: dict[str, Any] = to_builtins(load_catalog().models[1])
    return {**made, **changes}


def merged(directory: Path, *rows: dict[str, Any], **more: Any) -> Catalog:
    file = directory / "fabric.models.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "models": list(rows), **more}), encoding="utf-8")
    return load_catalog(file)


def test_a_new_name_is_added(tmp_path: Path) -> None:
    found = merged(tmp_path, row(name="ours"))
    assert {each.name for each in found.models} == {each.name for each in load_catalog().models} | {"ours"}
    assert (found.default, found.tier_tolerance) == (load_catalog().default, load_catalog().tier_tolerance)


def test_a_known_name_takes_the_place_of_the_shipped_row(tmp_path: Path) -> None:
    shipped = load_catalog()
    name = shipped.models[1].name
    found = merged(tmp_path, row(tier_gb=123))
    assert [each.tier_gb for each in found.models if each.name == name] == [123]
    assert len(found.models) == len(shipped.models)
    assert load_catalog() == shipped, "what is shipped is not touched"


@pytest.mark.parametrize(
    ("rows", "more", "told"),
    [
        ([{"name": "x"}], {}, "license"),
        ([row(nam="x")], {}, "nam"),
        ([row(), row()], {}, "is there twice"),
        ([], {"default": "x"}, "default"),
        ([row(engines={"lamacpp": {}})], {}, "lamacpp"),
    ],
)
def test_what_does_not_fit_is_told_with_the_name_of_the_file(
    tmp_path: Path, rows: list[dict[str, Any]], more: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidInputError) as raised:
        merged(tmp_path, *rows, **more)
    assert "fabric.models.yaml" in raised.value.message
    assert told in raised.value.message


def test_an_empty_list_changes_nothing(tmp_path: Path) -> None:
    assert merged(tmp_path) == load_catalog()
