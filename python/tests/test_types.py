"""JSON Schemas of annotations, and values from JSON."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Annotated, Any, Literal, Optional, TypedDict, Union
from uuid import UUID

import pytest

from agentkit import tool
from agentkit._types import plain, schema_of, value_of


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Item:
    name: str
    count: int = 1
    tags: list[str] = field(default_factory=list)


class Options(TypedDict, total=False):
    fast: bool


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (str, {"type": "string"}),
        (Optional[int], {"type": ["integer", "null"]}),
        (Union[list[int], str], {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "string"}]}),
        (Literal["a", "b"], {"enum": ["a", "b"]}),
        (Colour, {"enum": ["red", "blue"]}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (set[str], {"type": "array", "items": {"type": "string"}, "uniqueItems": True}),
        (
            tuple[int, str],
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
        ),
        (datetime, {"type": "string", "format": "date-time"}),
        (Annotated[int, "how many", {"minimum": 1}], {"type": "integer", "description": "how many", "minimum": 1}),
        (Any, {}),
        (Options, {"type": "object", "properties": {"fast": {"type": "boolean"}}, "additionalProperties": False}),
    ],
)
def test_the_schema_of_an_annotation(kind: Any, schema: Any) -> None:
    assert schema_of(kind) == schema


def test_the_schema_of_a_dataclass() -> None:
    assert schema_of(Item) == {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "count": {"type": "integer"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["name"],
        "additionalProperties": False,
    }


def test_what_has_no_schema_is_refused() -> None:
    with pytest.raises(TypeError, match="no JSON Schema for the class"):
        schema_of(object)

    with pytest.raises(TypeError, match="called by names"):

        @tool
        def positions(*args: int) -> None:
            """Takes positions."""


def test_values_from_json() -> None:
    assert value_of(Item, {"name": "a", "count": 2}) == Item("a", 2)
    assert value_of(list[Item], [{"name": "a"}]) == [Item("a")]
    assert value_of(Optional[Colour], "red") is Colour.RED
    assert value_of(Optional[Colour], None) is None
    assert value_of(datetime, "2026-01-02T03:04:05.123456789Z") == datetime(2026, 1, 2, 3, 4, 5, 123456, timezone.utc)
    assert value_of(UUID, "12345678123456781234567812345678") == UUID("12345678123456781234567812345678")
    assert value_of(float, 1) == 1.0
    with pytest.raises(ValueError, match="no field sort"):
        value_of(Item, {"name": "a", "sort": 1})
    with pytest.raises(ValueError):
        value_of(Item, {"count": 1})


def test_values_to_json() -> None:
    assert plain(Item("a")) == {"name": "a", "count": 1, "tags": []}
    assert plain(Colour.BLUE) == "blue"
    assert plain(datetime(2026, 1, 2, tzinfo=timezone.utc)) == "2026-01-02T00:00:00Z"
    with pytest.raises(TypeError, match="object is no JSON"):
        plain(object())


def test_a_function_becomes_a_tool() -> None:
    @tool
    def find(query: str, limit: Annotated[int, "how many at most"] = 10, *, where: Optional[str] = None) -> list[str]:
        """Finds things.

        It looks everywhere.

        Args:
            query: what to look for,
                in words
            where (str): the place
        """
        return [query] * limit

    assert (find.name, find.description) == ("find", "Finds things.")
    assert find.parameters == {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "what to look for, in words"},
            "limit": {"type": "integer", "description": "how many at most", "default": 10},
            "where": {"type": ["string", "null"], "description": "the place", "default": None},
        },
        "required": ["query"],
        "additionalProperties": False,
    }
    assert find.__doc__ is not None and find("a", 2) == ["a", "a"]

    @tool(name="other", description="Another")
    async def slow(item: Item) -> str:
        return item.name

    assert (slow.name, slow.description) == ("other", "Another")
    assert slow.invoke({"item": {"name": "x"}}) == "x"
