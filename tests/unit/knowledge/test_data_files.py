"""The data files: strict, dated, and described to editors by the types that read them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from provision import assets
from provision.errors import InvalidInputError
from provision.knowledge.engine_files import load_engine_file
from provision.knowledge.load import check
from provision.knowledge.schema import FILES, schema_text

NAMES = sorted(FILES)
KEYED_BY_NAME = (  # mappings from names, where any key may stand
    *("engines", "unpacked_bits"),
    *("options", "at_start", "enabled", "disabled", "chat_template_kwargs"),
)


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


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("hardware", {"version": 9}, "version 9 is not known"),
        ("models", {"default": "nothere"}, "the default nothere is no model"),
        ("hardware", {"file_engines": ["vlm"]}, "vlm"),
    ],
)
def test_a_value_that_cannot_be_is_refused(name: str, change: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        check({**assets.profile(name), **change}, FILES[name], name)


@pytest.mark.parametrize(("name", "key"), [("hardware", "profiles"), ("models", "models")])
def test_two_of_one_name_are_refused(name: str, key: str) -> None:
    data = assets.profile(name)
    with pytest.raises(InvalidInputError, match="is there twice"):
        check({**data, key: [*data[key], data[key][0]]}, FILES[name], name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "is no YAML"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "c is given twice"),
        ("a: \x07", "is no YAML"),
        ("[" * 4000, "is no YAML"),
    ],
)
def test_a_file_that_is_no_yaml_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "builds.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(assets, "ROOT", tmp_path)
    with pytest.raises(InvalidInputError, match=said) as told:
        assets.profile("builds")
    assert "builds.yaml" in told.value.message


def test_a_file_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "ROOT", tmp_path)
    with pytest.raises(InvalidInputError, match=r"builds\.yaml: No such file"):
        assets.profile("builds")


def test_an_engine_s_file_is_as_strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = (assets.ROOT / "profiles" / "engines" / "llamacpp.yaml").read_text(encoding="utf-8")
    (tmp_path / "profiles" / "engines").mkdir(parents=True)
    file = tmp_path / "profiles" / "engines" / "spoiled.yaml"
    monkeypatch.setattr(assets, "ROOT", tmp_path)
    for old, new in (
        ("releases:", "relases:"),
        ("    builds: [vulkan]", "    biulds: [vulkan]"),
        ("version: 1", "version: 2"),
    ):
        assert old in written
        file.write_text(written.replace(old, new), encoding="utf-8")
        with pytest.raises(InvalidInputError, match=r"engines/spoiled\.yaml"):
            load_engine_file.__wrapped__("spoiled")
