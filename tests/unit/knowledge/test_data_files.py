"""The data files: strict, dated, and described to editors by the types that read them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from provision import assets
from provision.errors import InvalidInputError
from provision.knowledge.load import check
from provision.knowledge.schema import FILES, schema_text

NAMES = sorted(FILES)
KEYED_BY_NAME = ("engines",)  # mappings from names, where any key may stand


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_for_editors_is_that_of_the_types(name: str) -> None:
    written = (assets.ROOT / "profiles" / "schema" / f"{name}.json").read_text(encoding="utf-8")
    assert written == schema_text(name), "run: python -m provision.knowledge.schema"


@pytest.mark.parametrize("name", NAMES)
def test_the_file_fits_its_type_and_says_when_it_was_checked(name: str) -> None:
    data = assets.profile(name)
    assert check(data, FILES[name], name)
    assert len(str(data["checked"]).split("-")) == 3
    text = (assets.ROOT / "profiles" / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith(f"# yaml-language-server: $schema=schema/{name}.json\n")


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every mapping in ``data``."""
    if isinstance(data, dict):
        return [path, *(place for key, value in data.items() for place in places(value, (*path, key)))]
    if isinstance(data, list):
        return [place for number, value in enumerate(data) for place in places(value, (*path, number))]
    return []


def at(data: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        data = data[step]
    return data


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_key_is_refused_wherever_it_stands(name: str) -> None:
    data = assets.profile(name)
    for path in places(data):
        spoiled = copy.deepcopy(data)
        at(spoiled, path)["no_such_key"] = 1
        if not (path and path[-1] in KEYED_BY_NAME):
            with pytest.raises(InvalidInputError, match=name):
                check(spoiled, FILES[name], name)


@pytest.mark.parametrize("value", [None, [], "text", 7, {"version": "x"}])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(InvalidInputError, match=r"profiles/x\.yaml"):
        check(value, FILES["hardware"], "profiles/x.yaml")
