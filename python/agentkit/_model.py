"""How JSON becomes a model: by the annotations of its dataclass, leniently.

What is missing is `None`, what is unknown stays in `raw`, and what does not fit its annotation is given as it came: a
newer server must not break an older package.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from functools import lru_cache
from typing import (
    Any,
    Callable,
    ClassVar,
    Generic,
    Iterator,
    Mapping,
    Optional,
    Sequence,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

M = TypeVar("M", bound="Model")
T = TypeVar("T")

Convert = Callable[[Any], Any]

_FRACTION = re.compile(r"\.(\d+)")


@dataclass(frozen=True)
class Model:
    """Something that the server answered."""

    raw: Mapping[str, Any] = field(repr=False, compare=False)
    """The JSON as it came."""

    _WIRE: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def from_json(cls: type[M], data: Any) -> M:
        """Reads the model from its JSON."""
        if not isinstance(data, dict):
            raise ValueError(f"{cls.__name__} is read from an object, not from {type(data).__name__}")
        values = {name: convert(data.get(wire)) for name, wire, convert in _plan(cls)}  # type: ignore[arg-type]
        return cls(raw=data, **values)


class Page(Sequence[T], Generic[T]):
    """A part of a list, with the cursor of the next one."""

    def __init__(self, items: Sequence[T], next_cursor: Optional[str]) -> None:
        self.items = list(items)
        self.next_cursor = next_cursor
        """What goes on after this page; `None` on the last one."""

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: Union[int, slice]) -> Union[T, Sequence[T]]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __repr__(self) -> str:
        return f"Page({self.items!r}, next_cursor={self.next_cursor!r})"


def parse_time(text: str) -> datetime:
    """Reads an RFC 3339 time of any precision; Python 3.9 takes neither `Z` nor nanoseconds."""
    text = text.replace("Z", "+00:00").replace("z", "+00:00")
    text = _FRACTION.sub(lambda match: "." + match.group(1)[:6].ljust(6, "0"), text)
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


@lru_cache(maxsize=None)
def _plan(cls: type[Model]) -> list[tuple[str, str, Convert]]:
    hints = get_type_hints(cls)
    names = [one.name for one in fields(cls) if one.name != "raw"]
    return [(name, cls._WIRE.get(name, name), _converter(hints[name])) for name in names]


def _converter(kind: Any) -> Convert:
    if kind is datetime:
        return _time
    if isinstance(kind, type) and issubclass(kind, Model):
        return _lenient(kind.from_json)
    origin, args = get_origin(kind), get_args(kind)
    if origin is Union:
        for arg in args:
            convert = _converter(arg)
            if convert is not _as_it_is:
                return convert
    if origin is list and _converter(args[0]) is not _as_it_is:
        one = _converter(args[0])
        return lambda value: [one(item) for item in value] if isinstance(value, list) else value
    if origin is dict and _converter(args[1]) is not _as_it_is:
        each = _converter(args[1])
        return lambda value: {k: each(v) for k, v in value.items()} if isinstance(value, dict) else value
    return _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


def _lenient(read: Convert) -> Convert:
    return lambda value: read(value) if isinstance(value, dict) else value


def _time(value: Any) -> Any:
    try:
        return parse_time(value) if isinstance(value, str) else value
    except ValueError:
        return value
