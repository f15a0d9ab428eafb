"""Which handler takes which work, and what of the work each parameter of it gets."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional

from agentkit._types import hints_of, value_of
from agentkit.work import Call, Context, Failure

Function = Callable[..., Any]

# A parameter of one of these names, which the payload does not have, gets the whole of it.
WHOLE = ("payload", "parameters", "params", "args", "message", "data", "body")

INVALID = "invalid-payload"


@dataclass(frozen=True)
class Parameter:
    """A parameter of a handler."""

    name: str
    kind: Any
    annotation: Any
    default: Any

    @property
    def required(self) -> bool:
        """Whether the handler cannot be called without it."""
        return self.default is inspect.Parameter.empty


class Handler:
    """A function, and how it is called with a piece of work."""

    def __init__(self, function: Function) -> None:
        hints = hints_of(function)
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)
        )
        self.parameters = [
            Parameter(name, one.kind, hints.get(name, one.empty), one.default)
            for name, one in inspect.signature(function).parameters.items()
        ]

    def arguments(self, call: Call, context: Context) -> tuple[list[Any], dict[str, Any]]:
        """What the function is called with; a payload that does not fit is a `Failure`."""
        payload = call.payload if isinstance(call.payload, dict) else {}
        unused = dict(payload)
        positional: list[Any] = []
        named: dict[str, Any] = {}
        missing: list[str] = []
        for parameter in self.parameters:
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                named.update(unused)
                continue
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                continue
            found, value = self._value(parameter, call, context, payload)
            unused.pop(parameter.name, None)
            if not found:
                if parameter.required:
                    missing.append(parameter.name)
                continue
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
                positional.append(value)
            else:
                named[parameter.name] = value
        if missing:
            raise Failure(
                f"the {call.kind} '{call.name}' lacks {_words(missing)}; it has {_words(sorted(payload)) or 'nothing'}",
                code=INVALID,
            )
        return positional, named

    def _value(
        self, parameter: Parameter, call: Call, context: Context, payload: Mapping[str, Any]
    ) -> tuple[bool, Any]:
        if is_context(parameter.name, parameter.annotation):
            return True, context
        if parameter.annotation is Call:
            return True, call
        if parameter.name in payload:
            return True, self._read(parameter, call, payload[parameter.name])
        if parameter.name == "call":
            return True, call
        if parameter.name in WHOLE or (parameter.required and self._alone(parameter, call)):
            return True, self._read(parameter, call, call.payload)
        return False, None

    def _alone(self, parameter: Parameter, call: Call) -> bool:
        """Whether the only parameter of the handler stands for a payload that has no names."""
        others = [
            one
            for one in self.parameters
            if one is not parameter and not is_context(one.name, one.annotation) and one.annotation is not Call
        ]
        return not others and not isinstance(call.payload, dict)

    def _read(self, parameter: Parameter, call: Call, value: Any) -> Any:
        try:
            return value_of(parameter.annotation, value)
        except (ValueError, TypeError) as error:
            raise Failure(
                f"'{parameter.name}' of the {call.kind} '{call.name}' does not fit: {error}", code=INVALID
            ) from error


class Handlers:
    """All handlers of an agent, by what they take."""

    def __init__(self) -> None:
        self._named: dict[tuple[str, str], Handler] = {}
        self._any: dict[str, Handler] = {}
        self._subjects: list[tuple[str, Handler]] = []

    def add(self, kind: str, name: str, function: Function) -> None:
        """Adds the handler of a name, or of every name where that is `*`."""
        handler = Handler(function)
        if kind == "publication":
            self._subjects.append((name, handler))
        elif name == "*":
            self._any[kind] = handler
        elif (kind, name) in self._named:
            raise ValueError(f"there are two handlers of the {kind} '{name}'; give one of them another name")
        else:
            self._named[kind, name] = handler

    def of(self, call: Call) -> Optional[Handler]:
        """The handler of a piece of work, if there is one."""
        if call.kind in ("publication", "request"):
            found = next((handler for subject, handler in self._subjects if matches(subject, call.name)), None)
            return found or self._any.get(call.kind)
        return self._named.get((call.kind, call.name)) or self._any.get(call.kind)

    def names(self, kind: str) -> list[str]:
        """The names that have a handler of their own."""
        return [name for of_kind, name in self._named if of_kind == kind]

    def has(self, kind: str) -> bool:
        """Whether anything of a kind is handled."""
        return kind in self._any or bool(self.names(kind))

    def __len__(self) -> int:
        return len(self._named) + len(self._any) + len(self._subjects)


def is_context(name: str, annotation: Any) -> bool:
    """Whether a parameter gets the context."""
    return annotation is Context or (name == "ctx" and annotation in (inspect.Parameter.empty, Any, None))


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject is one of a pattern's: `*` is one part, `>` at the end one or more."""
    parts, others = pattern.split("."), subject.split(".")
    if parts[-1] == ">":
        parts = parts[:-1]
        if len(others) <= len(parts):
            return False
        others = others[: len(parts)]
    return len(parts) == len(others) and all(part in ("*", other) for part, other in zip(parts, others))


def _words(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
