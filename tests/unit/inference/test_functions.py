"""Python functions as tools; annotations are not postponed here, because the official package does not resolve them."""

import json
from typing import Literal, Optional, TypedDict

import ollama
import pydantic
import pytest
from ollama._utils import convert_function_to_tool

from provision import inference
from provision.inference.documents import tool_documents
from provision.inference.functions import as_tool


def add(first: int, second: float, label: str, exact: bool) -> float:
    """Add two numbers.

    Long words about it.

    Args:
        first: The one
            on two lines
        second (float): The other
        label: Any: colons

    Returns:
        The sum
    """
    return first + second


def bare(text):  # type: ignore[no-untyped-def]
    return text


def optional(name: str, count: Optional[int]) -> None:  # noqa: UP045 - as people write it
    """Say it."""


class Point(TypedDict):
    x: float


class Place(pydantic.BaseModel):
    name: str


def rich(
    kind: Literal["a", "b"], words: list[str], at: Point, place: Place, times: int = 2, *rest: str, **more: int
) -> None:
    """Show all.

    Parameters:
      kind: Which
    """


def nothing() -> None: ...


def unknown(what: range) -> None: ...


def anything(what: object, more: object = None) -> None: ...


@pytest.mark.parametrize("function", [add, bare, optional])
def test_a_function_becomes_the_tool_that_the_official_package_makes_of_it(function: object) -> None:
    theirs = convert_function_to_tool(function)  # type: ignore[arg-type]
    assert as_tool(function) == theirs.model_dump(exclude_none=True)  # type: ignore[arg-type]


def test_types_keep_all_that_a_schema_can_tell() -> None:
    parameters = as_tool(rich)["function"]["parameters"]
    assert parameters["required"] == ["kind", "words", "at", "place"], "a default makes a parameter optional"
    assert parameters["properties"]["kind"] == {"enum": ["a", "b"], "description": "Which"}
    assert parameters["properties"]["words"]["items"] == {"type": "string"}
    assert parameters["properties"]["at"]["$ref"] == "#/$defs/Point"
    assert parameters["$defs"]["Point"]["required"] == ["x"]
    assert parameters["properties"]["place"]["properties"]["name"]["type"] == "string"
    assert set(parameters["properties"]) == {"kind", "words", "at", "place", "times"}
    json.dumps(parameters)


def test_a_function_that_takes_nothing() -> None:
    function = as_tool(nothing)["function"]
    assert (function["name"], function["description"]) == ("nothing", "")
    assert function["parameters"] == {"type": "object", "required": [], "properties": {}}


def test_a_type_that_no_schema_tells_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="No JSON schema tells"):
        as_tool(unknown)


def test_an_object_may_be_anything() -> None:
    parameters = as_tool(anything)["function"]["parameters"]
    assert parameters["required"] == ["what"]
    assert parameters["properties"] == {"what": {"description": ""}, "more": {"description": ""}}


@pytest.mark.parametrize("document", [{"name": "f", "parameters": None}, {"name": "f"}, None])
def test_a_tool_may_take_nothing(document: object) -> None:
    assert tool_documents([{"type": "function", "function": document}]) == [{"type": "function", "function": document}]


def test_tools_of_every_form_are_the_same_documents() -> None:
    document = as_tool(add)
    forms = [add, document, ollama.Tool(**document), inference.Tool(**document)]
    assert tool_documents(forms) == [document] * 4
    assert tool_documents(None) == []


def test_definitions_keep_their_name_on_the_wire() -> None:
    document = as_tool(rich)
    for form in (ollama.Tool(**document), inference.Tool(**document)):
        (sent,) = tool_documents([form])
        assert "Point" in sent["function"]["parameters"]["$defs"]
        assert "defs" not in sent["function"]["parameters"]
