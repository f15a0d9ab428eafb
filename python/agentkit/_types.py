"""Between Python's annotations and JSON: the JSON Schema of an annotation, and the value of it that JSON stands for."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import sys
import typing
from datetime import date, datetime, time
from pathlib import PurePath
from typing import Any, Callable, Literal, Mapping, Optional, Union, get_args, get_origin
from uuid import UUID

from agentkit._model import parse_time

if sys.version_info >= (3, 10):
    from types import UnionType

    _UNIONS: tuple[Any, ...] = (Union, UnionType)
else:
    _UNIONS = (Union,)

Schema = dict[str, Any]

_PLAIN: Mapping[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    bytes: {"type": "string"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    time: {"type": "string", "format": "time"},
    UUID: {"type": "string", "format": "uuid"},
}

_READ: Mapping[Any, Callable[[str], Any]] = {
    datetime: parse_time,
    date: date.fromisoformat,
    time: time.fromisoformat,
    UUID: UUID,
}

_LISTS = (list, tuple, set, frozenset)


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function, also of one whose annotations are text."""
    target = function if inspect.isroutine(function) else getattr(function, "__call__", function)
    try:
        return typing.get_type_hints(target, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"the annotations of {getattr(function, '__qualname__', function)!r} cannot be read: {error}; "
            "define or import the types that they name at the top of the module"
        ) from None


def schema_of(kind: Any) -> Schema:
    """The JSON Schema of an annotation. What cannot be described is refused, as a check would let anything pass."""
    if kind is Any or kind is inspect.Parameter.empty:
        return {}
    origin, args = get_origin(kind), get_args(kind)
    # An annotation with a dictionary in it has no hash.
    if origin is None and isinstance(kind, type) and kind in _PLAIN:
        return dict(_PLAIN[kind])
    if origin is typing.Annotated:
        return {**schema_of(args[0]), **_noted(args[1:])}
    if origin is Literal:
        return {"enum": list(args)}
    if origin in _UNIONS:
        return _union(args)
    if origin in _LISTS or kind in _LISTS or origin in (typing.Sequence, _SEQUENCE):
        return _list(kind, args)
    if kind is dict or origin is dict or origin is _MAPPING:
        return {"type": "object", **({"additionalProperties": schema_of(args[1])} if args else {})}
    if isinstance(kind, type):
        return _class(kind)
    raise TypeError(f"there is no JSON Schema for the annotation {kind!r}")


_SEQUENCE = get_origin(typing.Sequence[int])
_MAPPING = get_origin(typing.Mapping[str, int])


def _noted(notes: tuple[Any, ...]) -> Schema:
    """What `Annotated` adds: a text is the description, a dictionary is more of the schema."""
    schema: Schema = {}
    for note in notes:
        if isinstance(note, str):
            schema["description"] = note
        elif isinstance(note, dict):
            schema.update(note)
    return schema


def _union(args: tuple[Any, ...]) -> Schema:
    schemas = [schema_of(arg) for arg in args]
    if all(set(schema) == {"type"} for schema in schemas):
        return {"type": [schema["type"] for schema in schemas]}
    return {"anyOf": schemas}


def _list(kind: Any, args: tuple[Any, ...]) -> Schema:
    schema: Schema = {"type": "array"}
    if get_origin(kind) is tuple and args and args[-1] is not Ellipsis:
        parts = [schema_of(arg) for arg in args]
        return {**schema, "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
    if args:
        schema["items"] = schema_of(args[0])
    if kind in (set, frozenset) or get_origin(kind) in (set, frozenset):
        schema["uniqueItems"] = True
    return schema


def _class(kind: type) -> Schema:
    if issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    if issubclass(kind, PurePath):
        return {"type": "string"}
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        parts = [one for one in dataclasses.fields(kind) if one.init]
        missing = dataclasses.MISSING
        required = [one.name for one in parts if one.default is missing and one.default_factory is missing]
        return _object({one.name: schema_of(hints[one.name]) for one in parts}, required)
    if hasattr(kind, "model_json_schema"):
        return dict(kind.model_json_schema())
    if typing.is_typeddict(kind) if sys.version_info >= (3, 10) else hasattr(kind, "__total__"):
        hints = typing.get_type_hints(kind, include_extras=True)
        required = sorted(getattr(kind, "__required_keys__", hints))
        return _object({name: schema_of(hint) for name, hint in hints.items()}, required)
    raise TypeError(f"there is no JSON Schema for the class {kind.__qualname__}")


def _object(properties: Mapping[str, Schema], required: list[str]) -> Schema:
    schema: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    if required:
        schema["required"] = required
    return schema


def parameters_of(function: Callable[..., Any]) -> Schema:
    """The JSON Schema of a function's parameters as one object."""
    hints = hints_of(function)
    described = descriptions_of(inspect.getdoc(function) or "")
    properties: dict[str, Schema] = {}
    required: list[str] = []
    is_open = False
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            is_open = True
            continue
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY):
            raise TypeError(f"the parameter '{name}' has no name for a caller; a tool is called by names")
        schema = schema_of(hints.get(name, parameter.empty))
        if name in described:
            schema.setdefault("description", described[name])
        if parameter.default is parameter.empty:
            required.append(name)
        elif parameter.default is None or isinstance(parameter.default, (str, int, float, bool)):
            schema["default"] = parameter.default
        properties[name] = schema
    schema = _object(properties, required)
    if is_open:
        del schema["additionalProperties"]
    return schema


def descriptions_of(doc: str) -> dict[str, str]:
    """What the section `Args:` of a docstring says of each parameter."""
    found: dict[str, str] = {}
    section, name = False, ""
    for line in doc.splitlines():
        text = line.strip()
        if text.lower() in ("args:", "arguments:", "parameters:"):
            section = True
        elif section and line and not line[0].isspace():
            break
        elif section and ":" in text and text.split(":")[0].split(" ")[0].isidentifier() and _indent(line) <= 4:
            head, said = text.split(":", 1)
            name = head.split(" ")[0]
            found[name] = said.strip()
        elif section and text and name:
            found[name] = f"{found[name]} {text}".strip()
    return found


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def value_of(kind: Any, value: Any) -> Any:
    """The value of an annotation that JSON stands for; `ValueError` where it stands for none. Plain types are not checked:
    JSON has them already."""
    if value is None or kind is Any or kind is inspect.Parameter.empty:
        return value
    origin, args = get_origin(kind), get_args(kind)
    if origin is typing.Annotated:
        return value_of(args[0], value)
    if origin in _UNIONS:
        return _one_of(args, value)
    if origin is None and isinstance(kind, type) and kind in _READ:
        return _READ[kind](value) if isinstance(value, str) else value
    if origin in _LISTS and isinstance(value, list):
        return _listed(origin, args, value)
    if origin is dict and isinstance(value, dict):
        return {name: value_of(args[1], item) for name, item in value.items()}
    if isinstance(kind, type) and origin is None:
        return _made(kind, value)
    return value


def _one_of(args: tuple[Any, ...], value: Any) -> Any:
    fault: Optional[Exception] = None
    for arg in args:
        if arg is type(None):
            continue
        try:
            return value_of(arg, value)
        except (ValueError, TypeError) as error:
            fault = error
    raise ValueError(str(fault))


def _listed(origin: Any, args: tuple[Any, ...], value: list[Any]) -> Any:
    if origin is tuple and args and args[-1] is not Ellipsis:
        return tuple(value_of(arg, item) for arg, item in zip(args, value))
    items = [value_of(args[0] if args else Any, item) for item in value]
    return items if origin is list else origin(items)


def _made(kind: type, value: Any) -> Any:
    if issubclass(kind, enum.Enum):
        return kind(value)
    if issubclass(kind, PurePath) and isinstance(value, str):
        return kind(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, dict):
        return value
    if hasattr(kind, "model_validate"):
        return kind.model_validate(value)
    if not dataclasses.is_dataclass(kind):
        return value
    hints = typing.get_type_hints(kind, include_extras=True)
    known = {one.name for one in dataclasses.fields(kind) if one.init}
    unknown = sorted(set(value) - known)
    if unknown:
        raise ValueError(f"{kind.__name__} has no field {', '.join(unknown)}")
    try:
        return kind(**{name: value_of(hints[name], item) for name, item in value.items()})
    except TypeError as error:
        raise ValueError(str(error)) from None


def plain(value: Any) -> Any:
    """What JSON cannot say as it is: for `json.dumps(default=…)`."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, datetime):
        moment = value.astimezone() if value.tzinfo is None else value
        return moment.isoformat().replace("+00:00", "Z")
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (UUID, PurePath)):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(getattr(value, "raw", None), Mapping):
        return value.raw
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(
        f"{type(value).__name__} is no JSON; give dicts, lists, strings, numbers, booleans, None or dataclasses"
    )
